"""Coarse and fine data sets at the command line: placed for a model, trained together."""

import json

import numpy as np
import pytest

import gnvpro as library
from gnvpro.pde_data.generation import run
from gnvpro.pde_data.storage.dataset import read_samples
from gnvpro.pde_data.storage.store import recipe_in
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.surrogate import Surrogate
from tests.apps.conftest import TOY


def parameters(path):
    return read_samples(path).parameters


@pytest.fixture(scope="module")
def placed(gnvpro, model, tmp_path_factory):
    path = tmp_path_factory.mktemp("placed") / "fine.zarr"
    ran = gnvpro("generate", TOY, "-n", 6, "--seed", 4, "--out", path, "--at-points-for", model, "--json")
    assert ran.exit_code == 0, ran.stderr
    return path


def test_samples_are_points_of_the_design_and_the_data_set_says_which(placed, model):
    recipe = recipe_in(placed)
    assert recipe.placement is not None
    assert len(set(recipe.placement["numbers"])) == 6
    assert list(recipe.placement["models"]) == ["0"]
    assert not np.array_equal(parameters(placed), parameters_of_the_first(placed))


def test_what_is_printed_says_where_the_points_come_from(gnvpro, placed):
    assert ", for a model" in gnvpro("generate", TOY, "-n", 6, "--seed", 4, "--out", placed).stdout


def parameters_of_the_first(placed):
    from gnvpro.pde_data.sampling import place
    from gnvpro.surrogate.spaces import Space

    recipe = recipe_in(placed)
    return place(Space.from_dict(recipe.parameter_space), recipe.design, recipe.seed, np.arange(6))


def test_it_resumes_without_the_model_and_grows_with_it(gnvpro, placed, model, tmp_path):
    def generate(n, *more):
        return gnvpro("generate", TOY, "-n", n, "--seed", 4, "--out", placed, *more)

    first = parameters(placed)
    assert generate(6).exit_code == 0
    refused = generate(9)
    assert refused.exit_code == 2
    assert "6 are placed for a model; name the model that further ones are to be placed for" in refused.stderr
    assert generate(9, "--at-points-for", model).exit_code == 0
    np.testing.assert_array_equal(parameters(placed)[:6], first)
    at_once = tmp_path / "at_once.zarr"
    library.generate(TOY, at_once, 9, seed=4, at_points_for=model)
    np.testing.assert_array_equal(parameters(at_once), parameters(placed))


def test_a_data_set_grows_where_its_own_model_knows_least(gnvpro, model, tmp_path):
    path = tmp_path / "random.zarr"
    library.generate(TOY, path, 5, seed=3)
    before = parameters(path)
    library.generate(TOY, path, 8, seed=3, at_points_for=Surrogate.load(model))
    np.testing.assert_array_equal(parameters(path)[:5], before)
    assert recipe_in(path).placement["numbers"][:5] == [0, 1, 2, 3, 4]
    ran = gnvpro("info", path)
    assert "from number 5 on where they tell most about a model" in " ".join(ran.stdout.split())


def test_another_point_than_those_there_is_refused(tmp_path):
    path, models = tmp_path / "d.zarr", {"0": "x"}
    run.generate(TOY, path, 2, placement={"numbers": [4, 2], "models": models})
    with pytest.raises(UsageError, match="sample 1 at point 2 of the design there, 3 asked"):
        run.generate(TOY, path, 3, placement={"numbers": [4, 3, 5], "models": models})


def test_a_model_of_other_parameters_is_refused(gnvpro, smooth, tmp_path):
    ran = gnvpro("generate", TOY, "-n", 3, "--out", tmp_path / "d.zarr", "--at-points-for", smooth)
    assert ran.exit_code == 2
    assert "expected columns" in ran.stderr


def test_a_model_is_trained_on_coarse_and_fine_data(gnvpro, data, placed, tmp_path):
    out = tmp_path / "model"
    ran = gnvpro("train", placed, "--coarse", data, "--contender", "kernel", "--out", out, "--json")
    assert ran.exit_code == 0, ran.stderr
    assert [level["samples"] for level in ran.numbers["fidelities"]["levels"]] == [80, len(parameters(placed))]
    kept = json.loads((out / "settings.json").read_text())
    assert len(kept["coarse"]) == 1
    shown = gnvpro("info", out).stdout
    assert "80 coarse samples" in shown
    table = gnvpro("train", placed, "--coarse", data, "--contender", "kernel").stdout
    assert "made of, cheapest first" in table


def test_the_option_is_repeated_for_a_chain(gnvpro, data, placed):
    ran = gnvpro("train", placed, "--coarse", data, "--coarse", data, "--contender", "polynomial", "--json")
    assert ran.exit_code == 0, ran.stderr
    assert len(ran.numbers["fidelities"]["levels"]) == 3


def test_coarse_data_of_something_else_is_one_sentence(gnvpro, placed, tmp_path):
    np.savez(tmp_path / "other.npz", parameters=np.zeros((5, 7)), observables=np.zeros((5, 3)))
    ran = gnvpro("train", placed, "--coarse", tmp_path / "other.npz")
    assert ran.exit_code == 2
    assert "parameters in the coarse samples, got 7" in ran.stderr
