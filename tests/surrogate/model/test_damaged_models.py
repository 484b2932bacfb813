"""Whatever is done to a model folder, loading it gives a model that works or one `SavedModelError`."""

import copy
import json
import shutil
import tempfile
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import safetensors.torch
import torch

from gnvpro.surrogate.errors import SavedModelError
from gnvpro.surrogate.model.folder import DESCRIPTION, WEIGHTS, canonical, read_document, sha256
from gnvpro.surrogate.model.surrogate import Surrogate
from tests import MODELS

FIXTURES = MODELS
SCHEMAS = ("schema-2", "schema-4", "schema-6")
MANY = hypothesis.settings(max_examples=150, deadline=None, derandomize=True)

NUMBERS = st.one_of(st.integers(), st.floats(), st.sampled_from([0, -1, 1e400, 2**70, float("nan")]))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=6,
)


def paths_of(value, here=()):
    """Every place in a JSON document."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        yield (*here, key)
        yield from paths_of(item, (*here, key))


DESCRIPTIONS = {schema: json.loads((FIXTURES / schema / DESCRIPTION).read_text()) for schema in SCHEMAS}
TENSORS = {schema: safetensors.torch.load((FIXTURES / schema / WEIGHTS).read_bytes()) for schema in SCHEMAS}
# What a model says of itself for people: any text and numbers will do.
_FOR_PEOPLE = ("provenance", "training", "errors", "errors_anomalous")
OF_THE_MODEL = {
    schema: [
        path
        for path in paths_of(description)
        if path[0] not in ("sha256", "weights_sha256")
        and (len(path) == 1 or path[0] not in _FOR_PEOPLE or "bounds" in path)
    ]
    for schema, description in DESCRIPTIONS.items()
}


def signed(description):
    """As somebody who knows the format could write it."""
    rest = {key: value for key, value in description.items() if key != "sha256"}
    return json.dumps({**rest, "sha256": sha256(canonical(rest))})


def loaded(schema, description=None, weights=None):
    """The model in a copy with these contents."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        shutil.copytree(FIXTURES / schema, folder)
        if weights is not None:
            (folder / WEIGHTS).write_bytes(weights)
        if description is not None:
            content = description.encode() if isinstance(description, str) else description
            (folder / DESCRIPTION).write_bytes(content)
        return Surrogate.load(folder)


def works_or_is_refused(schema, description=None, weights=None):
    """A model with these contents computes, or says in one error why not."""
    try:
        model = loaded(schema, description, weights)
    except SavedModelError:
        return "refused"
    n_in = model.parameters.size
    y = np.full((3, n_in), 0.5)
    assert model.evaluate(y).shape == (3, model.observables.size)
    if model.trust is not None:
        assert model.score(y).shape == model.trusted(y).shape == (3,)
        assert all((model.half_width(level) >= 0).all() for level in model.trust.bands.levels)
    return "works"


@pytest.mark.parametrize("schema", SCHEMAS)
def test_the_untouched_model_works(schema):
    assert works_or_is_refused(schema) == "works"
    assert works_or_is_refused(schema, signed(DESCRIPTIONS[schema])) == "works"


@MANY
@hypothesis.given(st.sampled_from(SCHEMAS), st.data())
def test_any_value_anywhere_in_a_signed_description(schema, data):
    description = copy.deepcopy(DESCRIPTIONS[schema])
    *way, last = data.draw(st.sampled_from(OF_THE_MODEL[schema]))
    place = description
    for key in way:
        place = place[key]
    if data.draw(st.booleans()):
        place[last] = data.draw(VALUES)
    else:
        del place[last]
    works_or_is_refused(schema, signed(description))


@MANY
@hypothesis.given(st.sampled_from(SCHEMAS), st.sampled_from([DESCRIPTION, WEIGHTS]), st.data())
def test_any_damage_to_the_bytes_is_refused(schema, file, data):
    content = bytearray((FIXTURES / schema / file).read_bytes())
    harm = data.draw(st.sampled_from(["cut", "flip", "more"]))
    at = data.draw(st.integers(0, len(content) - 1))
    if harm == "cut":
        del content[at:]
    elif harm == "flip":
        content[at] ^= data.draw(st.integers(1, 255))
    else:
        content[at:at] = data.draw(st.binary(min_size=1, max_size=20))
    given = {"description": bytes(content)} if file == DESCRIPTION else {"weights": bytes(content)}
    outcome = works_or_is_refused(schema, **given)
    # White space and the case of an escape are no damage to JSON; every bit of the weights counts.
    assert file == DESCRIPTION or outcome == "refused"


@MANY
@hypothesis.given(st.sampled_from(SCHEMAS), st.data())
def test_any_tensor_in_signed_weights(schema, data):
    tensors = dict(TENSORS[schema])
    name = data.draw(st.sampled_from(sorted(tensors)))
    harm = data.draw(st.sampled_from(["gone", "shape", "dtype", "nan", "infinite", "empty"]))
    if harm == "gone":
        del tensors[name]
    elif harm == "shape":
        shape = data.draw(st.lists(st.integers(1, 5), max_size=3))
        # The whitening may have any number of columns.
        same = shape[:1] if name == "domain_whitening" and len(shape) == 2 else shape
        hypothesis.assume(tuple(same) != tuple(tensors[name].shape[: len(same) or None]))
        tensors[name] = torch.ones(shape, dtype=tensors[name].dtype)
    elif harm == "dtype":
        tensors[name] = tensors[name].to(data.draw(st.sampled_from([torch.int64, torch.float16, torch.bool])))
    elif harm == "empty":
        tensors[name] = tensors[name][:0]
    else:
        tensors[name] = torch.full_like(tensors[name], float("nan" if harm == "nan" else "inf"))
    weights = safetensors.torch.save(tensors)
    description = {**DESCRIPTIONS[schema], "weights_sha256": sha256(weights)}
    outcome = works_or_is_refused(schema, signed(description), weights)
    # Bands that are infinite are those of too few samples.
    allowed = harm == "infinite" and name in ("band_marginal", "band_factors")
    assert outcome == ("works" if allowed else "refused")


@MANY
@hypothesis.given(st.binary(max_size=200))
def test_weights_that_are_any_bytes(content):
    description = {**DESCRIPTIONS["schema-4"], "weights_sha256": sha256(content)}
    assert works_or_is_refused("schema-4", signed(description), content) == "refused"


def axes(n, labels):
    return [{"name": f"a{j}", "labels": labels, "unit": "1", "coordinates": []} for j in range(n)]


def basis(*weights, degree):
    n = len(weights)
    return {"lower": [0.0] * n, "upper": [1.0] * n, "weights": weights, "degree": degree, "powers": [1.0] * n}


DENSE, THOUSAND = {"kind": "dense", "n_inputs": 2}, list(map(str, range(1000)))
KERNEL = {"kind": "kernel", "n_inputs": 2, "n_centres": 3, "kernel": "gaussian"}
SPARSE = {"kind": "sparse_polynomials", "n_inputs": 2, "families": ["legendre"] * 2, "centre": [0.0] * 2,
          "radius": [1.0] * 2, "terms": [[0, 1]]}  # fmt: skip


def stack(*members):
    return {"network": {"kind": "concatenated", "members": list(members)}}


IMPOSSIBLE = {
    "a hundred thousand layers": ({"network": {**DENSE, "widths": [1] * 100_000}}, "at most 1000 layers"),
    "a network of many inputs": ({"network": {"kind": "none", "n_inputs": 10**12}}, "1000000000000 inputs, its data 2"),
    "half a layer": ({"network": {**DENSE, "widths": [4.0]}}, "integers as sizes"),
    "many members": ({"network": {"kind": "concatenated", "members": [{**DENSE, "widths": [1]}] * 5000}}, "1000 members"),
    "a stack in a stack": (stack(stack(KERNEL)["network"]), "unknown kind of network 'concatenated'"),
    "a module in a stack": (stack({"kind": "module", "n_inputs": 2, "class": "x"}), "unknown kind of network 'module'"),
    "members of other inputs": (stack(SPARSE, {**KERNEL, "n_inputs": 3}), "has 3 inputs, its data 2"),
    "no members": (stack(), "at least one network"),
    "many centres": ({"network": {**KERNEL, "n_centres": 10**9}}, "at most 1e\\+08 weights"),
    "half a centre": ({"network": {**KERNEL, "n_centres": 0.5}}, "integers as sizes"),
    "a kernel without a name": ({"network": {**KERNEL, "kernel": "linear"}}, "unknown kernel 'linear'"),
    "sparse polynomials of many terms": ({"network": {**SPARSE, "terms": [[0, 1]] * 20_001}}, "up to 20000 terms"),
    "sparse polynomials of a high degree": ({"network": {**SPARSE, "terms": [[0, 10**9]]}}, "degrees from 1 to 100"),
    "sparse polynomials of many inputs": ({"network": {**SPARSE, "n_inputs": 10**12}}, "inputs, its data 2"),
    "many steps": (
        {"network": {"kind": "residual", "n_inputs": 2, "width": 4, "steps": 10**9, "final_time": 1.0}},
        "at most 1000 layers or steps",
    ),
    "a width of many digits": ({"network": {**DENSE, "widths": [10**4000]}}, "at most 1e\\+08 weights"),
    "billions of outputs": ({"observables": {"axes": axes(3, THOUSAND)}}, "1e\\+09 components, its tensors 3"),
    "outputs beyond 64 bits": ({"observables": {"axes": axes(22, THOUSAND)}}, "1e\\+66 components"),
    "many axes": (
        {"parameters": {"axes": [*axes(1, ["x", "y"]), *axes(40, ["z"])], "units": ["1"], "lower": None, "upper": None,
         "constraint": "box", "law": "unknown"}},
        "at most 32 axes",
    ),
    "millions of terms": ({"polynomials": basis(1.0, 1.0, degree=19_999.0)}, "more than 20000 terms"),
    "a term that is too small": ({"polynomials": basis(1e-320, 1.0, degree=1e300)}, "more than 20000 terms"),
    "polynomials of many parameters": ({"polynomials": basis(*[1.0] * 50_000, degree=0.5)}, "at most 100 parameters"),
    "deep": ({"training": {"a": json.loads("[" * 200 + "]" * 200)}}, "nested more than 100 deep"),
}  # fmt: skip


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_what_is_impossible_is_refused_before_anything_is_made(what):
    changes, message = IMPOSSIBLE[what]
    assert TENSORS["schema-4"]["input_shift"].shape == (2,)
    assert TENSORS["schema-4"]["weights"].shape[0] == 3
    with pytest.raises(SavedModelError, match=message):
        loaded("schema-4", signed({**DESCRIPTIONS["schema-4"], **changes}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"schema_version": ' + "9" * 5000 + "}", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[" * 900 + "]" * 900, "nested more than 100 deep"),
        (" " * (1 << 25), "too long to describe"),
    ],
)
def test_documents_that_are_no_description(content, message):
    with pytest.raises(SavedModelError, match=message):
        loaded("schema-4", content)


def test_documents_beside_a_model_have_sums_too(tmp_path):
    model = loaded("schema-4")
    model.save(tmp_path / "model", extra={"history.json": [{"stage": ""}]})
    assert read_document(tmp_path / "model", "history.json") == [{"stage": ""}]
    assert read_document(tmp_path / "model", "settings.json") is None
    (tmp_path / "model" / "history.json").write_text('[{"stage": " "}]')
    with pytest.raises(SavedModelError, match=r"history\.json was changed since"):
        read_document(tmp_path / "model", "history.json")
