"""Settings that a command line can be made of: light, and every field with its bounds and its help."""

import json
import subprocess
import sys
from dataclasses import asdict, fields
from typing import get_type_hints

import numpy as np
import pytest
from annotated_doc import Doc

from gnvpro.training.class_settings import ClassSettings
from gnvpro.training.settings import TrainSettings


@pytest.mark.parametrize("module", ["settings", "class_settings", "fit_settings"])
def test_importing_settings_loads_neither_torch_nor_numpy(module):
    code = f"import sys, gnvpro.training.{module}; print(*({{'torch', 'numpy', 'scipy'}} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


@pytest.mark.parametrize("settings", [TrainSettings, ClassSettings])
def test_every_field_has_one_sentence_of_help_that_names_no_option(settings):
    hints = get_type_hints(settings, include_extras=True)
    for field in fields(settings):
        (doc,) = (item for item in hints[field.name].__metadata__ if isinstance(item, Doc))
        assert doc.documentation.endswith(".")
        assert "--" not in doc.documentation


@pytest.mark.parametrize(
    ("settings", "given", "message"),
    [
        (TrainSettings, dict(members=0), "members >= 1, got 0"),
        (TrainSettings, dict(gain=0.0), "gain > 0, got 0.0"),
        (TrainSettings, dict(patience=float("nan")), "patience > 0, got nan"),
        (TrainSettings, dict(alpha_theta=-1e-9), "alpha_theta >= 0"),
        (TrainSettings, dict(solver="adam"), "expected solver lbfgs or krylov or lm, got 'adam'"),
        (TrainSettings, dict(goal="both"), "expected goal auto or relative or absolute, got 'both'"),
        (TrainSettings, dict(dtype="float16"), "expected dtype float64 or float32, got 'float16'"),
        (TrainSettings, dict(seed=None), "expected seed an integer >= 0, got None"),
        (TrainSettings, dict(dtype=None), "expected dtype float64 or float32, got None"),
        (TrainSettings, dict(patience=None), "patience a number > 0, got None"),
        (TrainSettings, dict(seed=2**63), r"seed below 2\*\*63, got an integer of 64 bits"),
        (TrainSettings, dict(network="residual", levels=10**9), "levels < 11"),
        (ClassSettings, dict(seed=None), "expected seed an integer >= 0, got None"),
        (ClassSettings, dict(alpha_w=0.0), "alpha_w > 0"),
        (ClassSettings, dict(finish="sgd"), "expected finish adam or none"),
        (ClassSettings, dict(budget=0.0), "budget > 0"),
        (ClassSettings, dict(features="bright"), "unknown features 'bright'"),
        (ClassSettings, dict(method="newton"), "unknown method 'newton'"),
    ],
)
def test_values_out_of_bounds_are_refused(settings, given, message):
    with pytest.raises(ValueError, match=message):
        settings(**given)


def test_numbers_of_numpy_become_those_of_python_and_lists_tuples():
    settings = TrainSettings(widths=np.array([8, 4]), seed=np.int64(3), budget=np.float32(40), dtype=np.str_("float32"))
    assert settings == TrainSettings(widths=[8, np.int32(4)], seed=3, budget=40.0, dtype="float32")
    assert json.loads(json.dumps(asdict(settings)))["widths"] == [8, 4]
