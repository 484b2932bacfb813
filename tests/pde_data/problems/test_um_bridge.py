"""A model of a real UM-Bridge server as a problem: levels by its config, derivatives where it has them, failures."""

import pickle
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.problems.contract import SolveStatus, coarser_version
from gnvpro.pde_data.problems.loading import as_problem, load_problem
from gnvpro.pde_data.problems.solving import solve_block
from gnvpro.pde_data.problems.um_bridge import UMBridge
from gnvpro.pde_data.storage.dataset import read_samples
from tests.calculus import assert_taylor

umbridge = pytest.importorskip("umbridge")
FACTORY = "gnvpro.pde_data.problems.um_bridge:UMBridge"
BLOCK = np.array([[0.5, 1.0], [1.2, 0.3]])


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address, log = f"http://127.0.0.1:{port}", tmp_path_factory.mktemp("server") / "log"
    with log.open("w") as file:
        script = str(Path(__file__).parent / "um_bridge_server.py")
        server = subprocess.Popen([sys.executable, script, str(port)], stdout=file, stderr=file)
    try:
        for _ in range(600):
            assert server.poll() is None, log.read_text()
            try:
                umbridge.supported_models(address)
                break
            except Exception:
                time.sleep(0.1)
        yield address
    finally:
        server.kill()
        server.wait()


def options(url, **more):
    levels = [{"fidelity": 8}, {"fidelity": 2}, {"fidelity": 1}]
    return {"url": url, "model": "leveled", "lower": [0.0, 0.0], "upper": [2.0, 2.0], "levels": levels, **more}


def test_levels_are_configs_and_the_cheapest_is_last(url):
    fine = load_problem(FACTORY, options(url))
    for k, fidelity in enumerate((8, 2, 1)):
        version = pickle.loads(pickle.dumps(coarser_version(fine, k)))
        a, b = BLOCK.T
        np.testing.assert_allclose(version.evaluate(BLOCK), (1 + 1 / fidelity) * np.stack([a * b, np.sin(a)], 1))
        assert version.definition["options"]["levels"][0] == {"fidelity": fidelity}
        assert load_problem(FACTORY, {"url": url, **version.definition["options"]}) == version
        assert load_problem(f"{url}/leveled", version.definition["options"]) == version
    assert coarser_version(fine, 2).coarser() is None
    assert as_problem(fine) is fine


def test_tangents_by_apply_jacobian(url):
    problem = load_problem(FACTORY, options(url))
    directions = np.random.default_rng(0).standard_normal((2, 3, 2))
    observables, derivatives = problem.tangents(BLOCK, directions)
    np.testing.assert_array_equal(observables, problem.solve(BLOCK)[0])
    for k in range(3):
        np.testing.assert_array_equal(derivatives[:, k], problem.jvp(BLOCK, directions[:, k]))
    assert_taylor(problem.evaluate, derivatives[:1, 0], BLOCK[:1], 0.1 * directions[:1, 0] / 0.1)


def test_data_of_a_coarser_level_with_derivatives(url, tmp_path):
    generate(FACTORY, tmp_path / "coarse.zarr", 6, options=options(url, upper=[1.5, 2.0]), coarser=1, derivatives=2)
    samples = read_samples(tmp_path / "coarse.zarr")
    a, b = samples.parameters.T
    np.testing.assert_allclose(samples.observables, 1.5 * np.stack([a * b, np.sin(a)], axis=1))
    np.testing.assert_allclose(samples.derivatives[:, :, 1], 1.5 * np.cos(a)[:, None] * samples.directions[:, :, 0])


def test_derivatives_are_not_there_where_the_model_has_none(url):
    problem = load_problem(FACTORY, options(url, model="plain"))
    assert not hasattr(problem, "tangents")
    assert not hasattr(problem, "jvp")
    assert not hasattr(load_problem(FACTORY, options(url)), "vjp")


def test_a_bad_sample_costs_one_sample(url):
    problem = load_problem(FACTORY, options(url))
    y = np.array([[0.5, 1.0], [1.95, 1.0], [1.85, 1.0], [2.5, 1.0]])
    solved = solve_block(problem, y)
    failed = SolveStatus.EXCEPTION  # JSON has no NaN: the client cannot read such an answer
    assert solved.status.tolist() == [SolveStatus.OK, failed, failed, SolveStatus.OUTSIDE_PARAMETER_SPACE]
    assert all(solved.messages[1:3])
    observables, derivatives = problem.tangents(y, np.ones((4, 1, 2)))
    np.testing.assert_array_equal(np.isfinite(observables).all(axis=1), [True, False, False, False])
    assert np.isfinite(derivatives[0]).all()


def test_what_does_not_fit_is_said(url):
    with pytest.raises(ValueError, match="no model 'nothing'; it has leveled, plain, blocks"):
        UMBridge(url, "nothing", (0.0,), (1.0,)).evaluate(np.ones((1, 1)))
    with pytest.raises(ValueError, match="maps 2 parameters to 2 observables, expected 1 and 2"):
        UMBridge(url, "leveled", (0.0,), (1.0,)).evaluate(np.ones((1, 1)))
    with pytest.raises(ValueError, match="no UM-Bridge server answers at http://127.0.0.1:9"):
        UMBridge("http://127.0.0.1:9", "leveled", (0.0,), (1.0,)).evaluate(np.ones((1, 1)))
    with pytest.raises(ValueError, match="as many lower bounds, upper bounds and names"):
        UMBridge(url, "leveled", (0.0,), (1.0, 2.0))
    with pytest.raises(ValueError, match="got no level"):
        UMBridge(url, "leveled", (0.0,), (1.0,), levels=())


LAWS = {
    "a": {"law": "lognormal", "mean_of_log": 0.0, "standard_deviation_of_log": 0.5},
    "b": [0.5, 1.0],
    "c": {"law": "integers", "lower": 1, "upper": 9},
}
POINTS = np.array([[0.5, 1.0, 2.0], [2.0, 0.75, 3.0]])


def test_several_vectors_are_one_row_and_blocks_of_the_jacobian_are_put_together(url):
    problem = load_problem(f"{url}/blocks", {"laws": LAWS, "units": {"a": "m"}})
    a, b, c = POINTS.T
    np.testing.assert_allclose(problem.evaluate(POINTS), np.stack([a * c, a * b, b * c], axis=1))
    assert problem.parameters.names == ("a", "b", "c")
    assert problem.parameters.units == ("m", "unknown", "unknown")
    assert problem.observables.names == ("output_0_0", "output_1_0", "output_1_1")
    rng = np.random.default_rng(1)
    v, w = rng.standard_normal((2, 3)), rng.standard_normal((2, 3))
    forward, backward = problem.jvp(POINTS, v), problem.vjp(POINTS, w)
    np.testing.assert_allclose((w * forward).sum(axis=1), (backward * v).sum(axis=1))
    assert_taylor(problem.evaluate, forward[:1], POINTS[:1], v[:1])
    np.testing.assert_allclose(problem.tangents(POINTS, v[:, None])[1][:, 0], forward)


@pytest.mark.parametrize("at_once", [1, 4])
def test_data_by_laws_of_a_url(url, tmp_path, at_once):
    options = {"laws": {**LAWS, "c": {**LAWS["c"], "upper": 5}}, "at_once": at_once, "outputs": ["ac", "ab", "bc"]}
    generate(f"{url}/blocks", tmp_path / "d.zarr", 12, options=options, design="random", block_size=6)
    samples = read_samples(tmp_path / "d.zarr")
    a, b, c = samples.parameters.T
    assert set(c) <= {1.0, 2.0, 3.0, 4.0, 5.0}
    np.testing.assert_allclose(samples.observables, np.stack([a * c, a * b, b * c], axis=1))


def test_an_answer_that_does_not_come_costs_one_sample(url):
    problem = load_problem(f"{url}/blocks", {"laws": LAWS, "time_limit": 60, "at_once": 3}).with_time_limit(1.0)
    solved = solve_block(problem, np.array([[0.5, 1.0, 2.0], [0.5, 0.75, 9.0]]))
    assert solved.status[1] == SolveStatus.TIMED_OUT
    assert solved.messages[1] == "no answer within 1 s"


def test_the_message_of_a_failed_point_is_the_servers(url):
    problem = load_problem(f"{url}/leveled", options(url))
    (message,) = solve_block(problem, np.array([[1.95, 1.0]])).messages
    assert "500" in message
    assert solve_block(problem, np.array([[1.85, 1.0]])).messages[0].startswith("the server answered")


def test_the_definition_is_not_where_the_server_is(url):
    named = {"laws": LAWS, "outputs": ["ac", "ab", "bc"]}
    model = load_problem(f"{url}/blocks", named)
    assert model.definition == load_problem("http://elsewhere:1/blocks", {**named, "at_once": 2}).definition
    assert model.definition["options"]["model"] == "blocks"


def test_a_url_alone_needs_one_model_and_where_its_parameters_are(url):
    with pytest.raises(ValueError, match="has leveled, plain, blocks; choose one: http://.*/NAME"):
        _ = load_problem(url, {"laws": LAWS}).observables
    with pytest.raises(ValueError, match="expected the options lower and upper, or laws, got neither"):
        load_problem(f"{url}/blocks")
    with pytest.raises(ValueError, match="got both"):
        load_problem(f"{url}/blocks", {"laws": LAWS, "lower": [0], "upper": [1]})
    with pytest.raises(ValueError, match="law of a: expected a law among"):
        _ = load_problem(f"{url}/blocks", {"laws": {"a": {"law": "norml"}}}).parameters
    with pytest.raises(ValueError, match="unknown option 'low'"):
        load_problem(f"{url}/blocks", {"low": [0]})
