"""`gnvpro serve` asked by UM-Bridge's own client, over a socket."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import requests
import umbridge

from gnvpro.surrogate.model.surrogate import Surrogate
from tests.apps.serving.conftest import points, serving
from tests.pde_data.toy import DecayProblem

SENS = np.random.default_rng(5).standard_normal(7)
VEC = np.array([0.3, -0.5, 0.2])


@pytest.fixture(scope="module")
def client(server):
    return umbridge.HTTPModel(server.url, "smooth")


def test_both_models_are_there_under_their_names(server, model):
    assert umbridge.supported_models(server.url) == ["second", "smooth"]
    second = umbridge.HTTPModel(server.url, "second")
    assert (second.get_input_sizes(), second.get_output_sizes()) == ([2], [6])
    expected = Surrogate.load(model).evaluate(np.array([[1.5, 0.5]]))[0]
    np.testing.assert_allclose(second([[1.5, 0.5]])[0], expected, rtol=1e-12)


def test_everything_is_supported(client):
    assert client.supports_evaluate()
    assert client.supports_gradient()
    assert client.supports_apply_jacobian()
    assert client.supports_apply_hessian()
    assert (client.get_input_sizes(), client.get_output_sizes()) == ([3], [7])


def test_values_come_in_all_their_digits(client, surrogate):
    y = points(1)
    assert client(y.tolist()) == surrogate.evaluate(y).tolist()


def test_integers_are_numbers(client, surrogate):
    assert client([[0, 0, 0]]) == surrogate.evaluate(np.zeros((1, 3))).tolist()


def central(function, y, along, h=1e-5):
    return (np.asarray(function(y + h * along)) - np.asarray(function(y - h * along))) / (2 * h)


def test_gradient_and_jacobian_are_those_of_the_values(client):
    y = points(1)[0]
    slope = central(lambda at: client([at.tolist()])[0], y, VEC)
    jacobian = client.apply_jacobian(0, 0, [y.tolist()], VEC.tolist())
    np.testing.assert_allclose(jacobian, slope, rtol=1e-7, atol=1e-8)
    gradient = client.gradient(0, 0, [y.tolist()], SENS.tolist())
    np.testing.assert_allclose(np.dot(gradient, VEC), np.dot(SENS, jacobian), rtol=1e-12)
    np.testing.assert_allclose(np.dot(gradient, VEC), SENS @ slope, rtol=1e-7)


def test_hessian_is_that_of_the_gradients_and_symmetric(client):
    y = points(1)[0]
    product = client.apply_hessian(0, 0, 0, [y.tolist()], SENS.tolist(), VEC.tolist())
    slope = central(lambda at: client.gradient(0, 0, [at.tolist()], SENS.tolist()), y, VEC)
    np.testing.assert_allclose(product, slope, rtol=1e-6, atol=1e-8)
    assert np.linalg.norm(product) > 1e-2
    columns = [client.apply_hessian(0, 0, 0, [y.tolist()], SENS.tolist(), e.tolist()) for e in np.eye(3)]
    np.testing.assert_allclose(columns, np.transpose(columns), rtol=1e-10, atol=1e-12)


def test_shared_memory_is_declined_and_http_taken(server, surrogate):
    y = points(1)
    assert umbridge.HTTPModel(server.url, "smooth", use_shmem=True)(y.tolist()) == surrogate.evaluate(y).tolist()


def test_errors_of_the_protocol_reach_the_client(client, server):
    with pytest.raises(Exception, match=r"type InvalidInput: .*y1 = 3, expected -1 to 1"):
        client([[0.0, 3.0, 0.0]])
    with pytest.raises(Exception, match=r"type InvalidInput: input\[0\]: expected 3 numbers, got 2"):
        client([[0.0, 3.0]])
    with pytest.raises(Exception, match="not supported by server"):
        umbridge.HTTPModel(server.url, "nothing")


def test_many_clients_at_once_get_their_own_answers(server, surrogate):
    """Sums in products of matrices are ordered by the size of the batch: the last two digits may differ, nothing else."""
    y = points(320, seed=3)
    expected = surrogate.evaluate(y)
    start = threading.Barrier(32)

    def ask(rows):
        start.wait()
        with requests.Session() as session:
            ask_one = [session.post(f"{server.url}/Evaluate", json={"name": "smooth", "input": [r]}) for r in rows]
        return [answer.json()["output"][0] for answer in ask_one]

    with ThreadPoolExecutor(32) as pool:
        answers = np.concatenate(list(pool.map(ask, y.reshape(32, 10, 3).tolist())))
    np.testing.assert_allclose(answers, expected, rtol=0, atol=1e-13 * np.abs(expected).max())


@pytest.mark.long
def test_the_pde_answers_beside_its_surrogate(with_pde):
    assert umbridge.supported_models(with_pde.url) == ["decay", "decay-pde"]
    pde = umbridge.HTTPModel(with_pde.url, "decay-pde")
    assert not pde.supports_gradient()
    y = np.array([[1.5, 0.5]])
    assert pde(y.tolist()) == DecayProblem().evaluate(y).tolist()
    surrogate = umbridge.HTTPModel(with_pde.url, "decay")(y.tolist())
    np.testing.assert_allclose(surrogate, DecayProblem().evaluate(y), rtol=1e-2)
    refused = requests.post(f"{with_pde.url}/Gradient", json={"name": "decay-pde", "input": [[1.5, 0.5]]})
    assert (refused.status_code, refused.json()["error"]["type"]) == (400, "UnsupportedFeature")


@pytest.mark.long
def test_outside_the_training_range_when_it_is_allowed(smooth, surrogate, tmp_path):
    with serving(tmp_path / "log", smooth, "--extrapolate") as running:
        assert (
            umbridge.HTTPModel(running.url, "smooth")([[3, 3, 3]]) == surrogate.evaluate(np.full((1, 3), 3.0)).tolist()
        )


@pytest.mark.long
def test_the_real_pde_and_its_derivatives(fenicsx, gnvpro, tmp_path):
    data, folder = tmp_path / "d.zarr", tmp_path / "cdr"
    assert gnvpro("generate", "cdr", "--samples", 32, "--set", "tier=reduced", "--out", data).exit_code == 0
    ran = gnvpro("train", data, "--out", folder, "--widths", 4, "--gain", 0.1, "--budget", 20)
    assert ran.exit_code == 0, ran.stderr
    from gnvpro.apps.arguments import problem_of

    problem = problem_of(Surrogate.load(folder))
    y = np.full((1, 55), 1 / 55)
    sens = np.random.default_rng(0).standard_normal(72)
    with serving(tmp_path / "log", folder, "--with-pde") as running:
        pde = umbridge.HTTPModel(running.url, "cdr-pde")
        np.testing.assert_allclose(pde(y.tolist()), problem.evaluate(y), rtol=1e-12)
        gradient = pde.gradient(0, 0, y.tolist(), sens.tolist())
        np.testing.assert_allclose(gradient, problem.vjp(y, sens[None])[0], rtol=1e-9, atol=1e-12)
        along = np.linspace(-1e-3, 1e-3, 55)
        change = pde.apply_jacobian(0, 0, y.tolist(), along.tolist())
        np.testing.assert_allclose(np.dot(gradient, along), np.dot(sens, change), rtol=1e-8)
        assert not pde.supports_apply_hessian()
        with pytest.raises(Exception, match="InvalidInput: .*sum to 2, expected 1"):
            pde([[2 / 55] * 55])
