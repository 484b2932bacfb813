"""`gnvpro.propagate` and its command, on models with their PDE: laws, solves that fail, files, and what is refused."""

import csv
import dataclasses
import json
from dataclasses import replace

import numpy as np
import pytest
from arviz_base import from_dict

import gnvpro as library
from gnvpro.apps.inversion.invert import write_draws
from gnvpro.apps.propagate.propagate import propagate
from gnvpro.pde_data.storage.dataset import read_samples
from gnvpro.surrogate.errors import NumericalFailure, UsageError
from gnvpro.surrogate.laws import Dirichlet, Integers, JointNormal, Lognormal
from gnvpro.surrogate.spaces import Space
from tests.apps.conftest import TOY
from tests.pde_data.toy import DecayProblem, Fragile

FEW = dict(draws=4096, quantiles=(0.1, 0.5, 0.9))
LIMIT = 1.55


@pytest.fixture(scope="module")
def truth():
    """Largest observable of the PDE at very many draws."""
    y = np.random.default_rng(0).random((400_000, 2)) * [1.0, 0.8] + [1.0, 0.1]
    return DecayProblem().evaluate(y).max(axis=1)


@pytest.fixture(scope="module")
def surrogate(model):
    return library.load(model)


def quantity(result, name):
    return next(one for one in result.numbers()["quantities"] if one["name"] == name)


def test_solves_make_the_answers_those_of_the_pde(surrogate, truth):
    result = propagate(surrogate, DecayProblem(), of="max", limit=LIMIT, pde_solves=60, **FEW)
    found = quantity(result, "max")
    (limit,) = found["limits"]
    assert limit["lower"] <= (truth > LIMIT).mean() <= limit["upper"]
    assert limit["upper"] - limit["lower"] < 0.05
    for name, value in (("mean", truth.mean()), ("standard_deviation", truth.std())):
        assert found[name]["lower"] <= value <= found[name]["upper"]
    for one in found["quantiles"]:
        assert one["lower"] <= np.quantile(truth, one["level"]) <= one["upper"]
    assert result.solves.coefficients == pytest.approx(1, abs=0.1)
    rows = dict(result.rows())
    assert "unbiased" in rows["95% intervals"]
    assert "surrogate" in rows["P(max > 1.55 K)"]
    assert repr(result).startswith("What comes out of the surrogate")
    assert result._repr_html_().count("<tr>") == len(result.rows())
    json.dumps(result.numbers())


def test_a_surrogate_that_is_another_pdes_is_corrected_too(surrogate, truth):
    """The PDE gives a tenth more than what the surrogate was trained on."""
    shifted = replace(surrogate, weights=0.9 * surrogate.weights)
    alone = quantity(propagate(shifted, of="max", **FEW), "max")["mean"]
    assert not alone["drawn_lower"] <= truth.mean() <= alone["drawn_upper"]
    found = quantity(propagate(shifted, DecayProblem(), of="max", pde_solves=60, **FEW), "max")
    assert found["mean"]["lower"] <= truth.mean() <= found["mean"]["upper"]


def test_without_solves_error_bands_make_the_intervals(surrogate, truth):
    result = propagate(surrogate, of="max", limit={"max": LIMIT}, **FEW)
    (limit,) = quantity(result, "max")["limits"]
    assert limit["lower"] <= (truth > LIMIT).mean() <= limit["upper"]
    assert limit["upper"] - limit["lower"] > limit["drawn_upper"] - limit["drawn_lower"]
    assert "pde_solves" in dict(result.rows())["95% intervals"]
    bare = replace(surrogate, trust=None)
    unknown = propagate(bare, limit=LIMIT, **FEW)
    assert unknown.numbers()["quantities"][0]["mean"]["upper"] is None
    assert "no error bands, see gnvpro.calibrate" in dict(unknown.rows())["95% intervals"]


def test_error_bands_widen_means_by_the_size_of_the_errors_and_every_quantity_by_its_own(surrogate):
    """The intervals of moments are of the mean error, not of the largest there may be; an unknown one is unknown alone."""
    truth = DecayProblem().evaluate(points := np.random.default_rng(1).random((20_000, 2)) * [1.0, 0.8] + [1.0, 0.1])
    rms = np.sqrt(((surrogate.evaluate(points) - truth) ** 2).mean(axis=0))
    usual = propagate(surrogate, **FEW)
    added = (usual.deviation.upper - usual.deviation.drawn_upper) / rms
    assert ((added > 1) & (added < 6)).all()
    bands = surrogate.trust.bands
    marginal = bands.marginal.copy()
    marginal[:, 0] = np.inf
    partly = replace(surrogate, trust=replace(surrogate.trust, bands=replace(bands, marginal=marginal)))
    found = propagate(partly, **FEW)
    assert np.isnan(found.mean.upper[0])
    np.testing.assert_array_equal(found.mean.upper[1:], usual.mean.upper[1:])
    assert found.has_bands
    rows = dict(found.rows())
    assert "error bands of the surrogate" in rows["95% intervals"]
    assert "5 of them known within" in rows["means of 6 observables"]


def test_what_fails_is_recorded_and_counts_as_anything(surrogate, truth):
    whole = propagate(surrogate, DecayProblem(), of="max", limit=LIMIT, pde_solves=60, **FEW)
    part = propagate(surrogate, Fragile(), of="max", limit=LIMIT, pde_solves=60, **FEW)
    assert part.solves.n_failed > 0
    assert part.numbers()["pde"]["failures"]
    assert "count as anything" in dict(part.rows())["PDE solves"]
    one, two = (quantity(result, "max") for result in (whole, part))
    for kind in ("mean", "standard_deviation"):
        assert two[kind]["lower"] <= one[kind]["lower"] <= one[kind]["upper"] <= two[kind]["upper"]
    assert two["limits"][0]["lower"] <= (truth > LIMIT).mean() <= two["limits"][0]["upper"]
    assert two["limits"][0]["upper"] - two["limits"][0]["lower"] > one["limits"][0]["upper"] - one["limits"][0]["lower"]


def test_a_pde_that_can_be_solved_nowhere_is_a_failure(surrogate):
    class Nowhere(DecayProblem):
        def solve(self, y):
            raise FloatingPointError("diverged")

    with pytest.raises(NumericalFailure, match="could be solved at 0 of .*diverged"):
        propagate(surrogate, Nowhere(), pde_solves=20, **FEW)


def test_a_checkpoint_keeps_every_solve(surrogate, tmp_path):
    class Interrupted(DecayProblem):
        left = 30

        def solve(self, y):
            Interrupted.left -= len(y)
            if Interrupted.left < 0:
                raise KeyboardInterrupt
            return super().solve(y)

        piece_size = 5

    arguments = dict(limit=LIMIT, of="max", pde_solves=40, checkpoint=tmp_path / "solves", **FEW)
    with pytest.raises(KeyboardInterrupt):
        propagate(surrogate, Interrupted(), **arguments)
    Interrupted.left = 1000
    again = propagate(surrogate, Interrupted(), **arguments)
    assert again.solves.remembered == 30
    assert Interrupted.left == 1000 - (again.solves.n_solved - 30)
    fresh = propagate(surrogate, DecayProblem(), **{**arguments, "checkpoint": None})
    drop = ("pde", "wall_seconds")
    assert [v for k, v in again.numbers().items() if k not in drop] == [
        v for k, v in fresh.numbers().items() if k not in drop
    ]


def trained_on(space, function):
    """A surrogate of a function of parameters of a space, with its law."""
    from gnvpro.pde_data.sampling import draw
    from gnvpro.surrogate.samples import Samples

    y = draw(space, 1, np.arange(60))
    c = function(y)
    samples = Samples(y, c, space, Space.vector([f"c{j}" for j in range(c.shape[1])], units=("m",)))
    return library.train(samples, contender="polynomial", seed=0).surrogate


def test_joint_discrete_and_fixed_parameters_are_drawn_by_their_laws():
    space = Space.of_laws(
        {
            ("a", "b"): JointNormal((1.0, 2.0), ((1.0, 0.5), (0.5, 1.0))),
            "k": Integers(1, 4),
            "fixed": 3.0,
            ("sand", "silt"): Dirichlet((2.0, 1.0)),
            "s": Lognormal(0.0, 0.1),
        }
    )

    def linear(y):
        return np.column_stack([y[:, 0] + y[:, 1], y[:, 2], y[:, 3], y[:, 4] - y[:, 5]])

    result = propagate(trained_on(space, linear), **FEW)
    means = [one["mean"]["value"] for one in result.numbers()["quantities"]]
    np.testing.assert_allclose(means, [3.0, 2.5, 3.0, 1 / 3], atol=0.02)
    deviations = [one["standard_deviation"]["value"] for one in result.numbers()["quantities"]]
    np.testing.assert_allclose(deviations[:3], [np.sqrt(3), np.sqrt(1.25), 0], atol=0.02)
    assert "a, b" in result.law
    assert "the others" not in result.law


def test_a_law_by_name_takes_the_place_of_that_of_the_data(surrogate):
    narrow = propagate(surrogate, prior={"Amplitude": {"law": "uniform", "lower": 1.4, "upper": 1.5}}, **FEW)
    usual = propagate(surrogate, **FEW)
    ratio = narrow.deviation.value[0] / usual.deviation.value[0]
    assert ratio < 0.9
    assert "given: amplitude" in narrow.law
    assert "the others" in narrow.law
    assert dict(narrow.rows())["other laws"].startswith("of amplitude: the surrogate's error is taken")
    assert "other laws" not in dict(usual.rows())
    with pytest.raises(UsageError, match="no parameter 'mass'"):
        propagate(surrogate, prior={"mass": [1, 2]}, **FEW)


def test_the_draws_of_an_inversion_are_a_law_too(surrogate, tmp_path):
    draws = 1.2 + 0.05 * np.random.default_rng(0).standard_normal((4, 400, 2)) * [1, 0.2] - [0, 0.8]
    coords = {"parameter": list(surrogate.parameters.names)}
    write_draws(tmp_path, "surrogate", from_dict({"posterior": {"y": draws}}, dims={"y": ["parameter"]}, coords=coords))
    file = tmp_path / "posterior-surrogate.nc"
    result = propagate(surrogate, posterior=file, limit=1.1, of="max", quantiles=(0.5,))
    of_draws = surrogate.evaluate(draws.reshape(-1, 2))
    np.testing.assert_allclose(result.mean.value[:6], of_draws.mean(axis=0))
    assert result.exceedances[0].value[0] == (of_draws.max(axis=1) > 1.1).mean()
    # Draws of a chain are no more than they are worth.
    walk = np.repeat(draws[:, ::40], 40, axis=1)
    write_draws(tmp_path, "walk", from_dict({"posterior": {"y": walk}}, dims={"y": ["parameter"]}, coords=coords))
    fewer = propagate(surrogate, posterior=tmp_path / "posterior-walk.nc", limit=1.1, of="max", quantiles=(0.5,))
    widths = [one.exceedances[0].drawn_upper - one.exceedances[0].drawn_lower for one in (result, fewer)]
    assert widths[1] > 2 * widths[0]
    assert "posterior-surrogate.nc" in result.law
    assert "the posterior" in dict(result.rows())["other laws"]
    half = propagate(surrogate, posterior=file, draws=1024, limit=1.1, of="max")
    assert (result.n_draws, half.n_draws) == (1600, 1024)
    with pytest.raises(UsageError, match="two laws of the parameters"):
        propagate(surrogate, posterior=file, prior={"rate": [0.4, 0.1]})
    with pytest.raises(UsageError, match="is not there; expected the draws of an inversion"):
        propagate(surrogate, posterior=tmp_path / "none.nc")
    (tmp_path / "other.nc").write_text("no")
    with pytest.raises(UsageError, match="holds no posterior"):
        propagate(surrogate, posterior=tmp_path / "other.nc")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (dict(pde_solves=7), "expected pde_solves 0 or at least 20, got 7"),
        (dict(quantiles=(0.0, 0.5)), "expected quantiles between 0 and 1"),
        (dict(quantiles="half"), "quantiles"),
        (dict(level=95), "expected the level of intervals from 0.5 on and below 1"),
        (dict(checkpoint="x"), "belong to PDE solves; say how many with `pde_solves`"),
        (dict(draws=0), "expected draws >= 1"),
        (dict(limit="max>1"), "there is no quantity 'max'"),
    ],
)
def test_what_does_not_fit_is_said(surrogate, arguments, said):
    with pytest.raises(UsageError, match=said):
        propagate(surrogate, **arguments)


def test_solves_of_a_model_without_a_pde_are_refused():
    bare = trained_on(Space.of_laws({"x": (0.0, 1.0)}), lambda y: y**2)
    with pytest.raises(UsageError, match="needs a model trained on data that `generate` wrote"):
        propagate(bare, pde_solves=20)


def test_options_and_arguments_are_the_same():
    import inspect

    from gnvpro.apps.commands.propagate import PropagateOptions

    taken = inspect.signature(propagate).parameters
    options = {field.name: field.default for field in dataclasses.fields(PropagateOptions)}
    assert options.keys() - taken.keys() == {"out"}
    assert taken.keys() - options.keys() == {"progress"}
    different = {name for name in taken.keys() & options.keys() - {"model"} if taken[name].default != options[name]}
    assert different == set()


def test_the_command_writes_numbers_solves_and_a_report(gnvpro, model, tmp_path):
    out = tmp_path / "propagation"
    arguments = (
        "propagate",
        model,
        "--problem",
        TOY,
        "--of",
        "max,mean:time",
        "--limit",
        "max=1.55",
        "--limit",
        "<0.9",
    )
    ran = gnvpro(*arguments, "--pde-solves", 40, "--draws", 4096, "--out", out, "--json")
    assert ran.exit_code == 0, ran.stderr
    written = json.loads((out / "propagation.json").read_text())
    assert written == ran.numbers
    limited = {one["name"]: one["limits"] for one in written["quantities"] if one["limits"]}
    assert {name: found[0]["event"] for name, found in limited.items()} == {
        "max": ">", "mean over time, sensor left": "<", "mean over time, sensor right": "<",
    }  # fmt: skip
    with (out / "quantities.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["quantity"] for row in table] == [one["name"] for one in written["quantities"]]
    assert float(table[0]["mean"]) == written["quantities"][0]["mean"]["value"]
    with np.load(out / "solves.npz") as solves:
        np.testing.assert_allclose(solves["solved"][:, :6], DecayProblem().evaluate(solves["parameters"]))
        assert solves["weights"].shape == (40,)
    page = (out / "report.html").read_text()
    for words in ("gnvpro propagate", "max &gt; 1.55 K", "Quantiles along the axes", "without an assumption"):
        assert words in page
    again = gnvpro(*arguments, "--out", out)
    assert again.exit_code == 2
    assert "exists already; choose another place for the propagation" in again.stderr
    none = gnvpro("propagate", model, "--limit", "nan")
    assert "limit: expected a limit such as 0.3" in none.stderr
    shown = gnvpro(*arguments, "--draws", 4096, "--pde-solves", 20)
    assert "P(max > 1.55 K)" in shown.stdout


@pytest.mark.long
def test_settings_that_are_kept_give_the_same_again(gnvpro, model, tmp_path):
    arguments = ("--limit", "max<1.5", "--of", "max", "--draws", 1024, "--quantiles", "0.5")
    first = gnvpro("propagate", model, *arguments, "--out", tmp_path / "a", "--json").numbers
    (tmp_path / "settings.json").write_text(json.dumps({**first["settings"], "model": str(model), "out": None}))
    again = gnvpro("propagate", model, "--config", tmp_path / "settings.json", "--json").numbers
    assert again["quantities"] == first["quantities"]


@pytest.mark.long
def test_a_seed_gives_the_same_numbers_and_no_point_of_the_data(surrogate, data):
    first, again = (propagate(surrogate, seed=3, **FEW) for _ in range(2))
    np.testing.assert_array_equal(first.mean.value, again.mean.value)
    assert not np.array_equal(first.mean.value, propagate(surrogate, seed=4, **FEW).mean.value)
    solved = propagate(surrogate, DecayProblem(), pde_solves=40, seed=3, **FEW).solves.parameters
    own = {row.tobytes() for row in read_samples(data).parameters}
    assert own.isdisjoint({row.tobytes() for row in solved})


def test_a_classifier_is_refused(tmp_path):
    with pytest.raises(UsageError, match="expected a model or the folder of one"):
        propagate(3)
