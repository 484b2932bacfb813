"""Damaged models and data sets, and any value of an option: one sentence and exit code 2, never a traceback.

The fixture `gnvpro` raises whatever a command lets through.
"""

import copy
import json
import shutil

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from gnvpro.surrogate.spaces import Space
from tests import MODELS
from tests.apps.conftest import TOY
from tests.pde_data.toy import DecayProblem
from tests.surrogate.model.test_damaged_models import DESCRIPTIONS, VALUES, paths_of, signed

FIXTURE = MODELS / "schema-4"
SOME = hypothesis.settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
PLACES = [path for path in paths_of(DESCRIPTIONS["schema-4"]) if path[-1] not in ("sha256", "weights_sha256")]


def said_in_one_sentence(ran):
    """Done, a numerical failure, or one sentence."""
    assert ran.exit_code in (0, 1, 2)
    assert "Traceback" not in ran.stderr
    if ran.exit_code == 2:
        assert ran.stdout == ""
        assert ran.stderr.startswith(("error: ", "Usage: "))


@pytest.fixture
def place(tmp_path):
    np.savez(tmp_path / "points.npz", parameters=np.array([[1.0, 0.5], [1.2, 0.4]]))
    y = np.random.default_rng(0).uniform([0.5, 0.1], [1.5, 0.9], (40, 2))
    np.savez(tmp_path / "data.npz", parameters=y, observables=np.ones((40, 3)))
    return tmp_path


@SOME
@hypothesis.given(st.data())
def test_a_description_changed_anywhere(gnvpro, place, data):
    description = copy.deepcopy(DESCRIPTIONS["schema-4"])
    *way, last = data.draw(st.sampled_from(PLACES))
    inside = description
    for key in way:
        inside = inside[key]
    if data.draw(st.booleans()):
        del inside[last]
    else:
        inside[last] = data.draw(VALUES)
    model = place / "model"
    shutil.rmtree(model, ignore_errors=True)
    shutil.copytree(FIXTURE, model)
    (model / "model.json").write_text(signed(description))
    out = place / "out.npz"
    out.unlink(missing_ok=True)
    said_in_one_sentence(gnvpro("info", model))
    said_in_one_sentence(gnvpro("predict", model, "-p", place / "points.npz", "-o", out))
    said_in_one_sentence(gnvpro("compare", model, "--problem", TOY, "--samples", 2, "--repeats", 1))
    said_in_one_sentence(gnvpro("calibrate", model, place / "data.npz", "--out", place / "new", "--overwrite"))
    said_in_one_sentence(gnvpro("predict", model, "-p", place / "points.npz", "-o", out, "--fallback", "pde"))


@SOME
@hypothesis.given(
    st.sampled_from(["--level", "--tolerance", "--fallback", "--append", "--problem"]),
    st.one_of(st.floats(), st.integers(), st.text(st.characters(exclude_categories=["Cs"]), max_size=8)),
)
def test_any_value_of_an_option_of_predict(gnvpro, place, option, value):
    out = place / "out.npz"
    out.unlink(missing_ok=True)
    hypothesis.assume("\0" not in str(value))
    said_in_one_sentence(gnvpro("predict", FIXTURE, "-p", place / "points.npz", "-o", out, f"{option}={value}"))


@pytest.fixture(scope="module")
def sound(gnvpro, tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "d.zarr"
    assert gnvpro("generate", TOY, "--samples", 12, "--seed", 1, "--out", path).exit_code == 0
    return path


def use(gnvpro, path):
    """What takes a data set."""
    said_in_one_sentence(gnvpro("info", path))
    said_in_one_sentence(gnvpro("train", path, "--widths", 2, "--budget", 2, "--polynomial", "off"))
    said_in_one_sentence(gnvpro("predict", FIXTURE, "-p", path, "-o", path.parent / "never.npz"))
    (path.parent / "never.npz").unlink(missing_ok=True)


@pytest.mark.parametrize("name", ["definition", "parameter_space", "observable_space", "schema_version"])
@pytest.mark.parametrize("value", [[1, 2], {"a": None}, "{", "[]", None])
def test_damaged_attributes_of_a_data_set(gnvpro, sound, place, name, value):
    damaged = place / "d.zarr"
    shutil.copytree(sound, damaged)
    document = json.loads((damaged / "zarr.json").read_text())
    document["attributes"][name] = value
    (damaged / "zarr.json").write_text(json.dumps(document))
    said_in_one_sentence(gnvpro("train", damaged, "--widths", 2, "--budget", 2, "--polynomial", "off"))


@SOME
@hypothesis.given(st.data())
def test_any_damage_to_the_bytes_of_a_data_set(gnvpro, sound, place, data):
    damaged = place / "d.zarr"
    shutil.rmtree(damaged, ignore_errors=True)
    shutil.copytree(sound, damaged)
    files = sorted(str(file.relative_to(sound)) for file in sound.rglob("*") if file.is_file())
    file = damaged / data.draw(st.sampled_from(files))
    content = bytearray(file.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[at:]
    else:
        content[at] ^= data.draw(st.integers(1, 255))
    file.write_bytes(bytes(content))
    use(gnvpro, damaged)


# zarr.json of the group and of every array; what the group holds as JSON text is changed inside too.
ENCODED = ("definition", "parameter_space", "observable_space", "versions", "git", "estimated_error")
# Copies of the metadata of the arrays, which no reader here looks at.
_COPIES = "consolidated_metadata"


@hypothesis.settings(SOME, max_examples=25)
@hypothesis.given(st.data())
def test_any_change_to_the_metadata_of_a_data_set(gnvpro, sound, place, data):
    file = data.draw(st.sampled_from(sorted(str(file.relative_to(sound)) for file in sound.rglob("zarr.json"))))
    document = json.loads((sound / file).read_text())
    texts = [name for name in ENCODED if name in document["attributes"]]
    for name in texts:
        document["attributes"][name] = json.loads(document["attributes"][name])
    *way, last = data.draw(st.sampled_from(list(paths_of({k: v for k, v in document.items() if k != _COPIES}))))
    inside = document
    for key in way:
        inside = inside[key]
    if data.draw(st.booleans()):
        del inside[last]
    else:
        inside[last] = data.draw(VALUES)
    if isinstance(document.get("attributes"), dict):
        for name in set(texts) & document["attributes"].keys():
            document["attributes"][name] = json.dumps(document["attributes"][name])
    damaged = place / "d.zarr"
    shutil.rmtree(damaged, ignore_errors=True)
    shutil.copytree(sound, damaged)
    (damaged / file).write_text(json.dumps(document))
    use(gnvpro, damaged)
    assert {path.name for path in place.iterdir()} == {"points.npz", "data.npz", "d.zarr"}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("seed", ..., "seed: it is missing"),
        ("seed", "1", "seed: expected a valid integer, got '1'"),
        ("n_samples", 0, "n_samples: expected greater than or equal to 1, got 0"),
        ("parameter_space", "{}", "parameter_space: 'lower' is missing"),
        (
            "estimated_error",
            '{"relative_l2": "small"}',
            "estimated_error.relative_l2: expected a valid number, got 'small'",
        ),
        ("versions", "[1]", "versions: expected a valid dictionary, got [1]"),
    ],
)
def test_what_is_wrong_with_an_attribute_is_named(gnvpro, sound, place, name, value, said):
    damaged = place / "d.zarr"
    shutil.copytree(sound, damaged)
    document = json.loads((damaged / "zarr.json").read_text())
    document["attributes"][name] = value
    if value is ...:
        del document["attributes"][name]
    (damaged / "zarr.json").write_text(json.dumps(document))
    for ran in (gnvpro("info", damaged), gnvpro("train", damaged, "--out", place / "model")):
        assert ran.exit_code == 2
        assert said in ran.stderr
    assert not (place / "model").exists()


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("constraint",), "sphere", "expected the constraint box or simplex"),
        (("law",), None, "expected the law uniform or"),
        (("lower", 0), "1.0", "expected numbers as lower bounds, got '1.0'"),
        (("upper", 1), float("nan"), "must be numbers"),
        (("upper", 1), 10**400, "got one beyond"),
        (("units", 0), 3, "expected texts as units"),
        (("axes", 0, "labels", 1), None, "labels of axis 'parameter', got None"),
    ],
)
def test_what_is_wrong_with_a_space_is_named(path, value, said):
    described = json.loads(json.dumps(DecayProblem.parameters.to_dict()))
    assert Space.from_dict(described) == DecayProblem.parameters
    *way, last = path
    inside = described
    for key in way:
        inside = inside[key]
    inside[last] = value
    with pytest.raises((ValueError, TypeError), match=said):
        Space.from_dict(described)


@pytest.mark.parametrize(
    ("file", "way", "value"),
    [
        ("observables", ("shape", 1), 2**70),
        ("observables", ("chunk_grid", "configuration", "chunk_shape", 1), [1, 2]),
        ("time", ("codecs", 2), ...),
        ("status", ("dimension_names",), None),
    ],
)
def test_metadata_of_an_array_that_zarr_cannot_make_sense_of(gnvpro, sound, place, file, way, value):
    damaged = place / "d.zarr"
    shutil.copytree(sound, damaged)
    document = json.loads((damaged / file / "zarr.json").read_text())
    *path, last = way
    inside = document
    for key in path:
        inside = inside[key]
    inside[last] = value
    if value is ...:
        del inside[last]
    (damaged / file / "zarr.json").write_text(json.dumps(document))
    assert [chunk["variable"] for chunk in gnvpro("info", damaged, "--json").numbers["damaged"]] == [file]
    use(gnvpro, damaged)
    generating = ("generate", TOY, "--samples", 12, "--seed", 1, "--out", damaged)
    ran = gnvpro(*generating)
    assert (ran.exit_code, f"{damaged} is damaged: {file} has damaged metadata" in ran.stderr) == (2, True)
    assert gnvpro(*generating, "--repair").exit_code == 0
    assert (damaged / file / "zarr.json").read_text() == (sound / file / "zarr.json").read_text()
