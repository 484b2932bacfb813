"""Results that hold arrays are equal to themselves alone: `==` by fields would raise, and `hash` too."""

import dataclasses
import importlib
import pkgutil
import sys
import typing

import numpy as np
import pytest
import torch

import gnvpro.apps

NOT_COMPARABLE = (np.ndarray, torch.Tensor)


def modules():
    return [
        importlib.import_module(module.name) for module in pkgutil.walk_packages(gnvpro.apps.__path__, "gnvpro.apps.")
    ]


def kinds_in(annotation):
    """Every class that stands in an annotation."""
    annotation = getattr(annotation, "__value__", annotation)
    yield typing.get_origin(annotation) or annotation
    for part in typing.get_args(annotation):
        yield from kinds_in(part)


def typed(kind, field):
    """The annotation of a field; what is imported for type checking alone stays a string."""
    try:
        return eval(field.type, vars(sys.modules[kind.__module__])) if isinstance(field.type, str) else field.type
    except NameError:
        return field.type


def holds_arrays(kind, above=()):
    """Whether `==` of two of a dataclass would compare arrays."""
    if not isinstance(kind, type):
        return False
    if issubclass(kind, NOT_COMPARABLE):
        return True
    if kind in above or not dataclasses.is_dataclass(kind) or "__eq__" not in vars(kind):
        return False
    fields = [typed(kind, field) for field in dataclasses.fields(kind) if field.compare]
    return any(holds_arrays(part, (*above, kind)) for hint in fields for part in kinds_in(hint))


@pytest.mark.long
def test_no_dataclass_of_arrays_is_compared_by_its_fields():
    classes = {
        value
        for module in modules()
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__.startswith("gnvpro.apps") and dataclasses.is_dataclass(value)
    }
    assert len(classes) > 40
    assert sorted(kind.__qualname__ for kind in classes if holds_arrays(kind)) == []
