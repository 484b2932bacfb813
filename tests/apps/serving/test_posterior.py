"""Log densities of a posterior behind the protocol: what they are, where they are -inf, and what they tell of themselves."""

import json
from functools import partial

import numpy as np
import pytest
from scipy import stats

from gnvpro.apps.inversion.posterior.posterior import Posterior
from gnvpro.apps.serving.request_log import RequestLog
from gnvpro.apps.serving.serve import served_models
from gnvpro.apps.serving.server import make_app
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.laws import Choices, Dirichlet, Lognormal, Normal, Uniform
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Space
from gnvpro.training.train import TrainSettings, train
from tests.apps.serving.conftest import points
from tests.apps.serving.test_requests import Talk
from tests.calculus import assert_taylor
from tests.surrogate.model.test_classifier import classifier

NOISE = 0.05
DENSITIES = ("log-likelihood", "log-prior", "posterior")


@pytest.fixture(scope="module")
def observed(surrogate):
    data = surrogate.evaluate(points(1, seed=4))[0]
    data[2] = np.nan  # not measured
    return data


def serving(models, observed, *, outside=None, with_pde=False, problem=None, log=None, **data):
    """Answers of `gnvpro serve` to UM-Bridge's requests, in this process."""
    from gnvpro.apps.serving.posteriors import PosteriorOptions

    options = PosteriorOptions.of(observed, data.pop("noise", NOISE), data.pop("prior", None))
    models = served_models(models, with_pde, problem, False, log or RequestLog("none"), options, outside)
    return Talk(make_app(models))


@pytest.fixture(scope="module")
def talk(surrogate, observed):
    talking = serving({"smooth": surrogate}, observed, prior={"y1": [0.2, 0.5]})
    yield talking
    talking.close()


def ask(talk, operation, name, y, **more):
    body = {
        "name": name,
        "input": [np.asarray(y).tolist()],
        "outWrt": 0,
        "inWrt": 0,
        "inWrt1": 0,
        "inWrt2": 0,
        "sens": [1.0],
    }
    return talk.post(f"/{operation}", body | more)[1]["output"]


def value(talk, name, y):
    return ask(talk, "Evaluate", name, y)[0][0]


def expected_log_likelihood(surrogate, observed, y):
    measured = np.isfinite(observed)
    return stats.norm.logpdf(observed[measured], surrogate.evaluate(y[None])[0, measured], NOISE).sum()


def expected_log_prior(y):
    cut = stats.truncnorm((-1 - 0.2) / 0.5, (1 - 0.2) / 0.5, loc=0.2, scale=0.5)
    return 2 * np.log(0.5) + cut.logpdf(y[1])


def test_likelihood_and_prior_are_densities_and_the_posterior_their_product(talk, surrogate, observed):
    for y in points(3, seed=1):
        likelihood, prior, posterior = (value(talk, f"smooth-{kind}", y) for kind in DENSITIES)
        assert likelihood == pytest.approx(expected_log_likelihood(surrogate, observed, y), rel=1e-12)
        assert prior == pytest.approx(expected_log_prior(y), rel=1e-12)
        assert posterior == pytest.approx(likelihood + prior, rel=1e-12)
        assert value(talk, "posterior", y) == posterior


@pytest.mark.parametrize("kind", [*DENSITIES, "posterior-normal"])
def test_derivatives_are_those_of_the_values(talk, kind):
    name, y, along = f"smooth-{kind}", points(1, seed=2)[0], np.array([0.06, -0.1, 0.04])
    gradient = np.array(ask(talk, "Gradient", name, y))
    assert_taylor(partial(value, talk, name), gradient @ along, y, along)
    change = ask(talk, "ApplyJacobian", name, y, vec=along.tolist())
    np.testing.assert_allclose(change, [gradient @ along], rtol=1e-12)
    np.testing.assert_allclose(ask(talk, "Gradient", name, y, sens=[-2.0]), -2 * gradient, rtol=1e-12)


@pytest.mark.parametrize("kind", DENSITIES)
def test_hessians_are_exact(talk, kind):
    name, y, along = f"smooth-{kind}", points(1, seed=2)[0], np.array([0.06, -0.1, 0.04])
    product = np.array(ask(talk, "ApplyHessian", name, y, vec=along.tolist()))
    assert_taylor(lambda at: np.array(ask(talk, "Gradient", name, at)), product, y, along)


def test_the_density_of_the_normal_variables_is_that_of_the_parameters_by_the_volume_of_the_map(
    talk, surrogate, observed
):
    z = np.array([0.3, -0.7, 0.2])
    y = np.array(ask(talk, "Evaluate", "smooth-from-normal", z)[0])
    columns = [ask(talk, "ApplyJacobian", "smooth-from-normal", z, vec=unit) for unit in np.eye(3).tolist()]
    rows = [ask(talk, "Gradient", "smooth-from-normal", z, sens=unit) for unit in np.eye(3).tolist()]
    np.testing.assert_allclose(np.transpose(columns), rows, rtol=1e-12)
    by_parameters = value(talk, "smooth-posterior", y) + np.linalg.slogdet(np.array(rows))[1]
    assert value(talk, "smooth-posterior-normal", z) == pytest.approx(by_parameters, rel=1e-10)


def test_it_is_the_density_that_is_inverted(talk, surrogate, observed):
    """Up to the constant, at any points."""
    posterior = Posterior.of(surrogate, observed, NOISE, {"y1": [0.2, 0.5]})
    z = np.random.default_rng(0).standard_normal((2, 3))
    served = [value(talk, "smooth-posterior-normal", row) for row in z]
    assert served[0] - served[1] == pytest.approx(-np.diff(posterior.log_density(z))[0], rel=1e-10)


def test_outside_of_the_support_the_density_is_zero_and_flat(talk):
    outside = [0.0, 3.0, 0.0]
    for kind in DENSITIES:
        assert value(talk, f"smooth-{kind}", outside) == -np.inf
        assert ask(talk, "Gradient", f"smooth-{kind}", outside) == [0, 0, 0]
    status, answer = talk.post("/Evaluate", {"name": "smooth-posterior", "input": [outside]})
    assert (status, answer["outside"]) == (200, "y1 = 3, expected -1 to 1")
    assert talk.post("/Evaluate", {"name": "smooth", "input": [outside]})[0] == 400
    assert talk.request("GET", "/health")[1]["outside"] >= 7


def test_an_infinite_answer_is_json_that_any_parser_takes(talk):
    """`-Infinity` is none, and Python's parser alone reads it; a number too large is one."""

    async def ask():
        body = json.dumps({"name": "posterior", "input": [[0, 3, 0]]})
        async with talk.client.post("/Evaluate", data=body) as answer:
            return await answer.read()

    content = talk.loop.run_until_complete(ask())

    def refuse(word):
        raise AssertionError(word)

    assert json.loads(content, parse_constant=refuse)["output"] == [[-np.inf]]


def test_clients_are_told_names_bounds_laws_and_the_most_probable_point(talk, observed):
    about = talk.post("/ModelInfo", {"name": "smooth-posterior"})[1]
    assert talk.request("GET", "/description")[1]["models"]["smooth-posterior"] == about
    assert about["parameters"]["names"] == ["y0", "y1", "y2"]
    assert about["parameters"]["lower"] == [-1, -1, -1]
    assert [law["law"] for law in about["parameters"]["laws"]] == ["uniform", "truncated-normal", "uniform"]
    mode, covariance = np.array(about["most_probable"]), np.array(about["covariance"])
    inside = (np.abs(mode) < 1).all()
    assert not inside or np.abs(ask(talk, "Gradient", "posterior", mode)).max() * np.sqrt(covariance.max()) < 1e-2
    normal = talk.post("/ModelInfo", {"name": "smooth-posterior-normal"})[1]
    assert normal["parameters"]["lower"] == [None] * 3
    assert np.linalg.eigvalsh(normal["covariance"]).min() > 0
    assert talk.post("/ModelInfo", {"name": "smooth"})[1]["observables"]["names"]


def small(laws, name="k"):
    """A surrogate of two observables, linear in its parameters of these laws."""
    space = Space.of_laws(laws)
    z = np.random.default_rng(0).standard_normal((60, space.size))
    y = space.own_laws.of_normal(z) if space.laws else space.transport.of_normal(z)
    matrix = np.random.default_rng(1).standard_normal((2, space.size))
    samples = Samples(y, y @ matrix.T, space, Space.vector(["u", "v"], axis="observable"))
    return train(samples.split(0), TrainSettings(widths=(3,), budget=10)).surrogate


def test_fixed_parameters_are_left_out_and_laws_have_their_densities():
    talk = serving({"m": small({"a": Lognormal(0, 0.3), "fixed": 2.0, "b": Normal(1, 2)})}, [1.0, 2.0])
    about = talk.post("/ModelInfo", {"name": "m-posterior"})[1]["parameters"]
    assert (about["names"], about["upper"]) == (["a", "b"], [None, None])
    expected = stats.lognorm(0.3).logpdf(1.2) + stats.norm(1, 2).logpdf(0.4)
    assert value(talk, "m-log-prior", [1.2, 0.4]) == pytest.approx(expected)
    assert ask(talk, "Evaluate", "m-from-normal", [0, 0.5]) == [[1.0, 2.0, 2.0]]
    assert value(talk, "m-posterior", [-1, 0.4]) == -np.inf
    talk.close()


def test_what_has_no_density_in_its_parameters_is_served_by_the_normal_variables_alone(capfd):
    talk = serving({"m": small({"a": Uniform(0, 1), "n": Choices((1, 2, 4))})}, [1.0, 2.0], log=RequestLog())
    _, info = talk.request("GET", "/Info")
    assert info["models"] == ["m", "m-log-likelihood", "m-posterior-normal", "m-from-normal"]
    support = talk.post("/ModelInfo", {"name": "m-posterior-normal"})[1]["support"]
    assert [name for name, has in support.items() if has] == ["Evaluate"]
    assert "n have single values" in capfd.readouterr().err
    assert ask(talk, "Evaluate", "m-from-normal", [0, -3.0]) == [[0.5, 1.0]]
    assert np.isfinite(value(talk, "m-log-likelihood", [0.5, 4]))
    assert value(talk, "m-log-likelihood", [0.5, 3]) == -np.inf
    talk.close()


def test_on_a_simplex_the_likelihood_is_served_and_the_density_of_the_normal_variables():
    talk = serving({"m": small({("sand", "silt", "clay"): Dirichlet((1.0, 2.0, 1.0))})}, [0.3, -0.2])
    assert talk.request("GET", "/Info")[1]["models"] == ["m", "m-log-likelihood", "m-posterior-normal", "m-from-normal"]
    assert talk.post("/ModelInfo", {"name": "m-log-likelihood"})[1]["parameters"]["sum_to_one"] == [[0, 1, 2]]
    assert np.isfinite(value(talk, "m-log-likelihood", [0.2, 0.5, 0.3]))
    assert value(talk, "m-log-likelihood", [0.2, 0.5, 0.5]) == -np.inf
    z, along = np.array([0.3, -0.2, 0.9]), np.array([0.06, -0.1, 0.04])
    gradient = np.array(ask(talk, "Gradient", "m-posterior-normal", z))
    assert_taylor(partial(value, talk, "m-posterior-normal"), gradient @ along, z, along)
    assert sum(ask(talk, "Evaluate", "m-from-normal", z)[0]) == pytest.approx(1)
    talk.close()


def test_a_pde_that_fails_at_a_point_is_no_possible_point_and_is_counted(model):
    surrogate = Surrogate.load(model)
    observed = surrogate.evaluate(np.array([[1.5, 0.5]]))[0]
    talk = serving({"decay": surrogate}, observed, with_pde=True, problem="tests.pde_data.toy:Fragile", noise=0.1)
    assert np.isfinite(value(talk, "decay-pde-posterior", [1.4, 0.5]))
    status, answer = talk.post("/Evaluate", {"name": "decay-pde-posterior", "input": [[1.95, 0.5]]})
    assert (status, answer["output"]) == (200, [[-np.inf]])
    assert "Newton diverged" in answer["unsolved"]
    assert talk.post("/Evaluate", {"name": "decay-pde", "input": [[1.95, 0.5]]})[0] == 500
    assert talk.request("GET", "/health")[1]["unsolved"] == 1
    together = talk.together(*({"name": "decay-pde-posterior", "input": [[a, 0.5]]} for a in (1.2, 1.95, 1.3)))
    assert [bool(np.isfinite(answer["output"][0][0])) for _, answer in together] == [True, False, True]
    likelihood = talk.post("/ModelInfo", {"name": "decay-pde-log-likelihood"})[1]["support"]
    assert likelihood["Evaluate"]
    assert not likelihood["Gradient"]
    talk.close()


@pytest.mark.long
def test_missing_libraries_of_the_pde_are_errors_and_no_densities(model):
    """`Fussy` fails above 1.8, and below 1.1 lacks a library."""
    observed = Surrogate.load(model).evaluate(np.array([[1.5, 0.5]]))[0]
    talk = serving({"decay": model}, observed, with_pde=True, problem="tests.pde_data.toy:Fussy", noise=0.1)
    assert value(talk, "decay-pde-posterior", [1.85, 0.5]) == -np.inf
    status, answer = talk.post("/Evaluate", {"name": "decay-pde-posterior", "input": [[1.05, 0.5]]})
    assert (status, answer["error"]["type"]) == (500, "InvalidOutput")
    assert "No module named 'solvers'" in answer["error"]["message"]
    assert ask(talk, "Gradient", "decay-pde-posterior", [1.85, 0.5]) == [0, 0]
    talk.close()


def test_what_no_posterior_can_be_made_of_is_refused_before_anything_is_served(surrogate, model, observed, tmp_path):
    def refused(match, models, observations, error=UsageError, **data):
        with pytest.raises(error, match=match):
            serving(models, observations, **data)

    refused("observations of one model, got 2: a, b", {"a": surrogate, "b": surrogate}, observed)
    refused("a is a classifier, which has no observations to fit", {"a": classifier()}, [1.0, 2.0])
    refused("expected 7 numbers", {"a": surrogate}, [1.0, 2.0])
    refused("needs the noise", {"a": surrogate}, observed, noise=None)
    refused("belongs to a posterior", {"a": surrogate}, None)
    refused("no parameter 'depth'", {"a": surrogate}, observed, prior={"depth": [0, 1]})
    refused("expected prior a mean", {"a": surrogate}, observed, prior=[1, 2])
    refused("no observations at", {"a": surrogate}, tmp_path / "field.csv", error=FileNotFoundError)
    (tmp_path / "field.csv").write_text("observable,value\nelsewhere,1\n")
    refused("no observable 'elsewhere'", {"a": surrogate}, tmp_path / "field.csv")


def test_the_command_says_what_is_wrong_and_listens_to_nobody(gnvpro, smooth, tmp_path):
    for words, said in (
        (("--posterior", tmp_path / "field.csv", "--noise", "2%"), "no observations at"),
        (("--posterior", tmp_path / "field.csv"), "needs the noise"),
        (("--noise", "2%"), "belongs to a posterior"),
    ):
        ran = gnvpro("serve", smooth, "--port", 0, *words)
        assert ran.exit_code != 0
        assert said in ran.stderr
        assert "listening" not in ran.stderr
