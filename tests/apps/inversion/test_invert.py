"""`invert` as a notebook calls it: arrays, values by name and files mean the same; what does not fit is refused."""

import json

import arviz as az
import numpy as np
import pytest

from gnvpro.apps.inversion.invert import Inversion, invert
from gnvpro.surrogate.errors import NumericalFailure, UsageError
from gnvpro.surrogate.model.surrogate import Surrogate
from tests.apps.conftest import TOY
from tests.apps.inversion.linear import LinearModel, box
from tests.pde_data.toy import DecayProblem

TRUTH = {"amplitude": 1.4, "rate": 0.45}
SPREAD = 0.01
# Chains that say whether the pieces fit together, and nothing of the posterior.
SHORT = dict(chains=2, draws=30, tune=20, pde_draws=20, pde_tune=10, starts=2)


@pytest.fixture(scope="module")
def surrogate(model):
    return Surrogate.load(model)


@pytest.fixture(scope="module")
def observed():
    """Observations of the problem itself, one of them missing."""
    values = DecayProblem().evaluate(np.array([list(TRUTH.values())]))[0]
    values += SPREAD * np.random.default_rng(0).standard_normal(len(values))
    values[2] = np.nan
    return values


def point(*arguments, **options):
    """The maximum a posteriori point alone."""
    return invert(*arguments, draws=0, starts=2, **options).map.parameters


def test_surrogate_and_observations_in_any_form_are_the_same(surrogate, model, observed, tmp_path):
    names = surrogate.observables.names
    by_name = {name: value for name, value in zip(names, observed, strict=True) if np.isfinite(value)}
    backwards = dict(reversed(by_name.items()))
    np.save(tmp_path / "observed.npy", observed)
    np.savez(tmp_path / "observed.npz", observations=observed)
    lines = [f'"{name}",{float(value)!r}' for name, value in backwards.items()]
    (tmp_path / "observed.csv").write_text("\n".join(["observable,value", *lines]))
    expected = point(surrogate, observed, SPREAD)
    np.testing.assert_allclose(expected, list(TRUTH.values()), rtol=0.1)
    for given in (
        by_name,
        backwards,
        list(observed),
        *(str(tmp_path / f"observed.{s}") for s in ("npy", "npz", "csv")),
    ):
        np.testing.assert_array_equal(point(model, given, SPREAD), expected)
    np.testing.assert_array_equal(point(str(model), tmp_path / "observed.csv", SPREAD), expected)


def test_noise_in_any_form_is_the_same(surrogate, observed, tmp_path):
    m = len(observed)
    np.save(tmp_path / "covariance.npy", np.eye(m) * SPREAD**2)
    expected = point(surrogate, observed, f"{SPREAD}")
    for noise in (SPREAD, np.full(m, SPREAD), [SPREAD] * m):
        np.testing.assert_array_equal(point(surrogate, observed, noise), expected)
    for covariance in (np.eye(m) * SPREAD**2, tmp_path / "covariance.npy"):
        np.testing.assert_allclose(point(surrogate, observed, covariance), expected, rtol=1e-6)
    assert (point(surrogate, observed) != expected).any(), "by default it is 2 % of each value"
    np.testing.assert_array_equal(point(surrogate, observed), point(surrogate, observed, "2%"))


def test_the_result_is_read_by_people_programs_and_arviz(surrogate, observed, tmp_path):
    stages = []
    inversion = invert(
        surrogate, observed, SPREAD, {"rate": (0.45, 0.1)}, DecayProblem(), truth=TRUTH, seed=1, **SHORT,
        progress=lambda done, total, note: stages.append(note.partition(":")[0]),
    )  # fmt: skip
    assert isinstance(inversion, Inversion)
    assert list(inversion.chains) == ["delayed", "surrogate"]
    assert stages[0] == "most probable point"
    assert stages[-1] == "sampling accepted by the PDE"
    text = repr(inversion)
    assert text.startswith("Inversion with Surrogate")
    assert "truth 1.4" in text
    assert "<caption>Inversion with Surrogate</caption>" in inversion._repr_html_()
    numbers = json.loads(json.dumps(inversion.numbers()))
    assert numbers["truth"] == TRUTH
    assert numbers["prior"]["normal"] == {"rate": {"mean": 0.45, "standard_deviation": 0.1}}
    summary = az.summary(inversion.posterior, var_names=["y"])
    assert list(summary.index) == ["y[amplitude]", "y[rate]"]
    assert inversion.posterior["observed_data"]["d"].sizes["observable"] == len(observed) - 1
    np.testing.assert_array_equal(inversion.posterior["posterior"]["y"], inversion.chains["delayed"].draws)
    inversion.write(tmp_path / "folder", more={"settings": {"mine": 1}})
    written = json.loads((tmp_path / "folder" / "inversion.json").read_text())
    assert written == {**numbers, "settings": {"mine": 1}}
    assert "How to reproduce" in (tmp_path / "folder" / "report.html").read_text()
    assert {path.name for path in (tmp_path / "folder").iterdir()} == {
        "inversion.json", "report.html", "observations.npz", "posterior-delayed.nc", "posterior-surrogate.nc",
    }  # fmt: skip
    with pytest.raises(FileExistsError, match="exists already"):
        inversion.write(tmp_path / "folder")
    again = invert(
        surrogate, tmp_path / "folder" / "observations.npz", "data", {"rate": (0.45, 0.1)}, TOY, seed=1, **SHORT
    )
    np.testing.assert_array_equal(again.chains["delayed"].draws, inversion.chains["delayed"].draws)


def test_a_forward_model_of_ones_own_is_inverted_without_a_pde(observed):
    inversion = invert(DecayProblem(), observed, SPREAD, **SHORT)
    assert list(inversion.chains) == ["surrogate"]
    assert inversion.adequacy is inversion.corrected is None
    assert "DecayProblem" in inversion.title


def test_the_pde_may_be_left_out(surrogate, observed):
    inversion = invert(surrogate, observed, SPREAD, problem=False, draws=0, starts=2)
    assert inversion.problem is inversion.corrected is inversion.posterior is None
    with pytest.raises(UsageError, match="`routes` pde need the PDE: problem=False says that there is no PDE"):
        invert(surrogate, observed, SPREAD, problem=False, routes=("surrogate", "pde"))


def test_a_surrogate_worse_than_the_noise_is_refused_unless_forced(surrogate, observed):
    with pytest.raises(NumericalFailure, match=r"not fit for this inversion: error .*With force=True it is used"):
        invert(surrogate, observed, 1e-7, problem=DecayProblem(), draws=0, starts=2)
    assert invert(surrogate, observed, 1e-7, problem=DecayProblem(), draws=0, starts=2, force=True).adequacy.refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(observations=np.ones(5)), r"expected 6 numbers, one for every observable of the model; got \(5,\)"),
        (dict(observations=["a"] * 6), "expected the observations to be real numbers"),
        (
            dict(observations=[[1.0, 2.0], [3.0]]),
            "observations: expected the observations to be real numbers, got a list",
        ),
        (dict(observations=np.full(6, np.nan)), "all values are missing"),
        (dict(observations={"nothing": 1.0}), "the model has no observable 'nothing'"),
        (dict(observations={"time 1, sensor left": "x"}), "expected the values to be a vector of real numbers"),
        (dict(observations="none.csv"), "no observations at none.csv"),
        (dict(noise="much"), "expected noise such as 2%"),
        (dict(noise=-1.0), "expected positive standard deviations"),
        (dict(noise=np.ones(3)), r"expected noise of 6 observations: \(6,\) standard deviations"),
        (dict(noise={"a": 1}), "expected noise such as 2%"),
        (dict(noise="data"), "came without standard deviations"),
        (dict(prior={"nothing": (1, 1)}), "no parameter 'nothing'"),
        (dict(prior={"rate": 1.0}), "mean and standard deviation, or a law; got 1.0"),
        (dict(problem="toy"), "problem"),
        (dict(routes=("guess",)), "expected routes surrogate, delayed, pde, got 'guess'"),
        (dict(routes=("delayed",)), "`routes` delayed need the PDE: "),
        (dict(checkpoint="x.db"), "`checkpoint` keeps PDE solves, and there are none"),
        (dict(truth=[1.0]), r"expected \(n, 2\) values"),
        (dict(truth={"rate": 0.4}), "true parameters: expected columns amplitude, rate, got rate"),
        (dict(truth=[[1.4, 0.45], [1.4, 0.45]]), "expected one row of true parameters, got 2"),
        (dict(like="x"), "`like` is for a server's model"),
        (dict(surrogate="http://127.0.0.1:9/decay"), "is it running"),
        (dict(surrogate="http://127.0.0.1:9/decay", problem="m:f"), "a server's PDE is a model of the server"),
        (dict(surrogate=DecayProblem(), problem="m:f"), "names are for surrogates"),
        (dict(starts=0), "expected at least one start"),
    ],
)
def test_what_does_not_fit_is_refused(surrogate, observed, change, message):
    arguments = {"surrogate": surrogate, "observations": observed, "noise": SPREAD, "draws": 0, "starts": 2, **change}
    with pytest.raises((UsageError, FileNotFoundError), match=message):
        invert(**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chains": 0}, "chains >= 1"),
        ({"draws": 3}, "draws of at least 4"),
        ({"pde_draws": 1}, "pde_draws of at least 4"),
    ],
)
def test_too_few_draws_to_compare_are_refused_before_anything_is_drawn(surrogate, observed, change, message):
    with pytest.raises(UsageError, match=message):
        invert(surrogate, observed, **change)


def test_a_problem_of_other_parameters_is_refused(surrogate, observed):
    other = LinearModel(box(2), surrogate.observables, np.ones((6, 2)))
    with pytest.raises(UsageError, match="problem and model disagree on parameter"):
        invert(surrogate, observed, SPREAD, problem=other, draws=0)
