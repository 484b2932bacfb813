"""The routes behind the page: descriptions, evaluations, solves, refusals, and which thread does what."""

import http.client
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from importlib.resources import files
from types import SimpleNamespace
from urllib.parse import urlsplit

import numpy as np
import pytest
from torch import nn

from gnvpro.apps.serving.page.description import Band, band_of, describe, groups, impossible, outside, slider_range
from gnvpro.apps.serving.page.files import page_files
from gnvpro.apps.serving.page.page import MOST_SOLVES, page_routes
from gnvpro.surrogate.laws import Dirichlet, Integers, Uniform
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.networks.module import ModuleNetwork
from gnvpro.surrogate.spaces import Space
from gnvpro.surrogate.trust.bands import Bands
from tests.apps.commands.test_export import LOWER, SURROGATES, UPPER
from tests.apps.commands.test_export import surrogate as surrogate_of
from tests.apps.serving.page.page_models import BOX, IMAGES, LINE, MIXTURE, Smooth, models, scenes, serving


def ask(address, path, body=None):
    """(status, JSON) of one request; the body is given as text or as what becomes JSON."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    text = body if body is None or isinstance(body, str) else json.dumps(body)
    connection.request("GET" if text is None else "POST", path, text)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def around(model, y, observables):
    return Band(observables - 0.1, observables + 0.1, "a band")


@pytest.fixture(scope="module")
def address():
    pde = models(curvature=0.01)
    with serving(page_routes(models(), {name: pde[name] for name in ("curves", "images")}, bands=around)) as found:
        yield found


def test_every_model_is_described(address):
    status, about = ask(address, "/page/models")
    assert status == 200
    curves, images, line, _ = about["models"]
    assert [m["name"] for m in about["models"]] == ["curves", "images", "line", "trained"]
    assert [m["pde"] for m in about["models"]] == [True, True, False, False]
    assert curves["parameters"]["simplex"]
    assert sum(curves["parameters"]["start"]) == pytest.approx(1)
    assert [g["title"] for g in curves["parameters"]["groups"]] == ["hill", "haldane", "ignition", "decay"]
    assert curves["observables"]["series"] == ["sensor 0", "sensor 1"]
    assert curves["observables"]["x"] == {"name": "time", "unit": "s", "labels": [0.1, 0.2, 0.4]}
    assert images["parameters"]["units"] == ["m", "m³"]
    assert (images["parameters"]["low"], images["parameters"]["high"]) == ([0.4, 1.0], [0.8, 2.0])
    assert images["observables"]["titles"] == ["difference x1", "difference x2"]
    assert images["observables"]["background"] == [0.1] * 12
    assert line["observables"]["x"]["labels"] == ["sine", "product", "decay"]


def test_evaluations_are_those_of_the_model_with_band_and_range(address):
    y = [0.5, 1.5]
    status, found = ask(address, "/page/evaluate", {"model": "images", "parameters": y})
    expected = models()["images"].evaluate(np.array([y]))[0]
    assert status == 200
    np.testing.assert_allclose(found["observables"], expected)
    np.testing.assert_allclose(found["lower"], expected - 0.1)
    np.testing.assert_allclose(found["upper"], expected + 0.1)
    assert found["outside"] == []


def test_a_point_that_is_none_of_the_space_is_not_evaluated(address):
    _, found = ask(address, "/page/evaluate", {"model": "images", "parameters": [0.5, 9]})
    assert found == {"impossible": {"why": ["volume = 9, expected 1 to 2"], "which": [1]}}
    _, found = ask(address, "/page/evaluate", {"model": "curves", "parameters": [0.1] * 16})
    why = ["the components sum to 1.6, expected 1 within 1e-05"]
    assert found == {"impossible": {"why": why, "which": list(range(16))}}
    _, found = ask(address, "/page/matters", {"model": "images", "parameters": [0.5, 9]})
    assert found == {"matters": None}


def test_integers_and_shares_that_cannot_be_are_named():
    space = Space.of_laws({"layers": Integers(1, 5), "depth": Uniform(0.0, 1.0)})
    model = Smooth(space, LINE)
    assert impossible(model, np.array([3.0, 0.5])) is None
    found = impossible(model, np.array([2.5, 0.5]))
    assert found["which"] == [0]
    assert found["why"][0].startswith("layers = 2.5, expected a value of the law ")
    parts = Smooth(Space.of_laws({("sand", "clay"): Dirichlet((1.0, 1.0)), "depth": Uniform(0.0, 1.0)}), LINE)
    assert impossible(parts, np.array([0.5, 0.4, 0.5]))["which"] == [0, 1]


def test_a_model_without_a_finite_value_is_not_drawn():
    model = models()["line"]
    model.evaluate = lambda y: np.full((len(y), 3), np.nan)
    with serving(page_routes({"line": model}, {})) as address:
        _, found = ask(address, "/page/evaluate", {"model": "line", "parameters": [0.5, 1.5]})
    assert found == {"impossible": {"why": ["the model has no finite value here"], "which": []}}


def test_outside_of_the_training_range_the_band_is_withdrawn(address):
    _, inside = ask(address, "/page/evaluate", {"model": "trained", "parameters": [0.6, 1.5]})
    _, beyond = ask(address, "/page/evaluate", {"model": "trained", "parameters": [0.6, 1.95]})
    assert {"lower", "upper", "band"} <= inside.keys()
    assert not {"lower", "upper", "band"} & beyond.keys()
    assert beyond["outside"] == ["volume = 1.95, expected 1.14 to 1.86 (where it was trained)"]


KINDS = SURROGATES | {
    "module": surrogate_of(ModuleNetwork(nn.Sequential(nn.Linear(3, 8), nn.SiLU(inplace=True), nn.Linear(8, 5)), 3))
}


@pytest.mark.parametrize("kind", KINDS)
def test_many_at_once_are_answered_as_one_after_the_other(kind):
    surrogate = KINDS[kind]
    y = np.random.default_rng(0).uniform(LOWER, UPPER, (40, 3))
    with serving(page_routes({"some": surrogate}, {})) as address, ThreadPoolExecutor(16) as pool:
        asked = [{"model": "some", "parameters": row.tolist()} for row in y]
        answers = pool.map(lambda each: ask(address, "/page/evaluate", each), asked)
        found = np.array([answer["observables"] for _, answer in answers])
    np.testing.assert_array_equal(found, np.concatenate([surrogate.evaluate(row[None]) for row in y]))


def test_without_bands_the_answer_has_none():
    with serving(page_routes(models(), {})) as address:
        _, found = ask(address, "/page/evaluate", {"model": "line", "parameters": [0.5, 1.5]})
    assert found.keys() == {"observables", "seconds", "outside"}


def bands_of(half):
    """At 90 % these half widths, others at other levels."""
    marginal = np.outer([0.5, 1.0, 2.0], half)
    return Bands((0.5, 0.9, 0.99), marginal, np.ones(len(half)), np.arange(3.0), 10, "test")


@pytest.mark.parametrize(("half", "drawn"), [((0.1, 0.2, 0.3), True), ((0.1, np.inf, 0.3), False)])
def test_the_band_is_that_of_the_models_trust(half, drawn):
    model, y = models()["line"], np.array([[0.5, 1.5]])
    assert band_of(model, y, model.evaluate(y)) is None
    model.trust = SimpleNamespace(bands=bands_of(half))
    with serving(page_routes({"line": model}, {})) as address:
        _, found = ask(address, "/page/evaluate", {"model": "line", "parameters": y[0].tolist()})
    if drawn:
        np.testing.assert_allclose(np.subtract(found["upper"], found["observables"]), half)
        np.testing.assert_allclose(np.subtract(found["observables"], found["lower"]), half)
        assert found["band"] == "90 % band of each observable"
    else:
        assert "upper" not in found


def test_a_point_that_a_calibrated_model_does_not_trust_is_warned_of():
    model, y = models()["line"], np.array([0.5, 1.5])
    model.trusted = lambda y: y[:, 1] < 1.2
    assert outside(model, y) == []  # it was not calibrated
    model.trust = SimpleNamespace()
    assert outside(model, y) == ["the network's features are unlike those of the training samples"]
    assert outside(model, np.array([0.5, 1.1])) == []


def test_a_solve_says_how_far_the_surrogate_is(address):
    y = np.array([[0.5, 1.5]])
    status, found = ask(address, "/page/solve", {"model": "images", "parameters": y[0].tolist()})
    solved, predicted = models(curvature=0.01)["images"].evaluate(y)[0], models()["images"].evaluate(y)[0]
    assert status == 200
    np.testing.assert_allclose(found["observables"], solved)
    rest = np.linalg.norm(predicted - solved)
    assert found["difference"]["relative"] == pytest.approx(rest / np.linalg.norm(solved))
    assert found["difference"]["relative_to_anomaly"] == pytest.approx(rest / np.linalg.norm(solved - 0.1))
    assert found["difference"]["largest"] == pytest.approx(0.025)  # 0.01 (0.5² + 1.5²), of every observable
    assert found["seconds"] > 0


REFUSED = {
    "no JSON": ("{", 400, "expected a JSON object"),
    "not text": ('"' + "[" * 5000 + '"', 400, "expected"),
    "deep": ("[" * 100_000, 400, "expected a JSON object"),
    "list": ([1, 2], 400, "expected a JSON object, got a list"),
    "unknown": ({"model": "nobody", "parameters": []}, 404, "no model 'nobody'; there are curves, images, line"),
    "no parameters": ({"model": "line"}, 400, "parameters is missing"),
    "too few": ({"model": "line", "parameters": [1]}, 400, "parameters: expected 2 numbers, got 1"),
    "text": ({"model": "line", "parameters": ["1", 1]}, 400, "parameters[0]: expected a number, got a text"),
    "logical": ({"model": "line", "parameters": [True, 1]}, 400, "parameters[0]: expected a number, got true"),
    "not finite": ('{"model": "line", "parameters": [NaN, 1]}', 400, "expected a JSON object"),
    "large": (" " * 2_000_000, 413, "expected at most 1048576 bytes"),
    "huge": ('{"model": "line", "parameters": [1, 1' + "0" * 400 + "]}", 400, "expected a JSON object"),
}


@pytest.mark.parametrize("path", ["/page/evaluate", "/page/solve"])
@pytest.mark.parametrize("name", REFUSED)
def test_bad_requests_are_told_what_was_expected(address, path, name):
    body, expected, says = REFUSED[name]
    status, found = ask(address, path, body)
    assert status == expected
    assert says in found["error"]


def test_a_body_that_cannot_be_read_is_no_defect_of_the_server(address):
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    connection.request("POST", "/page/evaluate", b"abcde", {"Content-Encoding": "gzip"})
    answer = connection.getresponse()
    assert answer.status == 400
    assert "the body cannot be read" in json.loads(answer.read())["error"]


def test_who_sends_nothing_holds_no_place():
    with serving(page_routes(models(), {}, read_seconds=0.05)) as address:
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=20)
        connection.putrequest("POST", "/page/evaluate")
        connection.putheader("Content-Length", "50")
        connection.endheaders(b"{")
        answer = connection.getresponse()
        assert answer.status == 408
        assert "did not arrive within 0.05 s" in json.loads(answer.read())["error"]
        connection.close()  # or the server waits ten seconds for what is left of the body


def test_points_that_the_pde_cannot_have(address):
    status, found = ask(address, "/page/solve", {"model": "images", "parameters": [0.5, 9]})
    assert status == 422
    assert found["error"] == "the PDE is not defined here: volume = 9, expected 1 to 2"
    status, found = ask(address, "/page/solve", {"model": "line", "parameters": [0.5, 1.5]})
    assert status == 404
    assert "no PDE for 'line'" in found["error"]


class Held(Smooth):
    """Waits to be let go, and says which thread it was in."""

    def __init__(self, result="solved"):
        super().__init__(BOX, LINE)
        self.go, self.began, self.threads, self.result = threading.Event(), threading.Event(), set(), result

    def evaluate(self, y):
        self.threads.add(threading.current_thread().name)
        self.began.set()
        assert self.go.wait(30)
        if self.result == "raises":
            raise RuntimeError("mesh folded")
        return super().evaluate(y) * (np.nan if self.result == "nan" else 1)


@pytest.mark.parametrize("result", ["raises", "nan"])
def test_a_pde_that_fails_is_reported_and_the_next_solve_is_done(result, caplog):
    held = Held(result)
    held.go.set()
    asked = {"model": "line", "parameters": [0.5, 1.5]}
    with serving(page_routes({"line": models()["line"]}, {"line": held})) as address:
        assert ask(address, "/page/solve", asked)[0] == 422
        assert ("mesh folded" in caplog.text) == (result == "raises")
        held.result = "solved"
        assert ask(address, "/page/solve", asked)[0] == 200


def test_solves_share_one_thread_and_hold_up_nothing_else():
    held, asked = Held(), {"model": "line", "parameters": [0.5, 1.5]}
    with serving(page_routes({"line": models()["line"]}, {"line": held})) as address, ThreadPoolExecutor(9) as pool:
        waiting = [pool.submit(ask, address, "/page/solve", asked) for _ in range(MOST_SOLVES + 2)]
        assert held.began.wait(30)
        assert ask(address, "/page/evaluate", asked)[0] == 200  # while the PDE is at work
        answered = as_completed(waiting, timeout=30)
        statuses = [next(answered).result()[0] for _ in range(2)]  # all have come when those too many are answered
        held.go.set()
        statuses += [each.result()[0] for each in answered]
        assert ask(address, "/page/solve", asked)[0] == 200  # those that were done count no longer
    assert held.threads == {"pde_0"}
    assert statuses == [503] * 2 + [200] * MOST_SOLVES


def test_a_thread_of_the_server_is_used_where_one_is_given():
    held, asked = Held(), {"model": "line", "parameters": [0.5, 1.5]}
    held.go.set()
    with ThreadPoolExecutor(1, "mine") as mine:
        routes = page_routes({"line": models()["line"]}, {"line": held}, pde_threads={"line": mine})
        with serving(routes) as address:
            assert ask(address, "/page/solve", asked)[0] == 200
    assert held.threads == {"mine_0"}


def test_fenicsx_solves_in_the_thread_of_the_page(fenicsx):
    from gnvpro.pde_data.problems.convection.problem import ConvectionDiffusionReaction
    from gnvpro.pde_data.problems.convection.settings import ImexSettings
    from gnvpro.pde_data.sampling import draw

    problem = ConvectionDiffusionReaction(settings=ImexSettings(width=4))
    points = draw(problem.parameters, 0, range(2))
    models = {"pde": problem, "other": Smooth(problem.parameters, problem.observables)}
    with serving(page_routes(models, {"pde": problem, "other": problem})) as address:
        asked = [{"model": "other", "parameters": y.tolist()} for y in points]
        found = [ask(address, "/page/solve", each) for each in asked]
        _, itself = ask(address, "/page/solve", {**asked[0], "model": "pde"})
        _, evaluated = ask(address, "/page/evaluate", {**asked[1], "model": "pde"})
    assert [status for status, _ in found] == [200, 200], found
    assert [(status, answer["with_setup"]) for status, answer in found] == [(200, True), (200, False)]
    same = ConvectionDiffusionReaction(settings=problem.settings).evaluate(points)
    np.testing.assert_allclose([answer["observables"] for _, answer in found], same, rtol=1e-12)
    assert itself["difference"]["largest"] == 0
    assert evaluated["observables"] == found[1][1]["observables"]


def test_a_pde_shown_as_a_model_keeps_to_its_thread():
    held, asked = Held(), {"model": "line", "parameters": [0.5, 1.5]}
    held.go.set()
    with serving(page_routes({"line": held}, {"other": held})) as address:
        assert ask(address, "/page/evaluate", asked)[0] == 200
    assert held.threads == {"pde_0"}


def test_a_real_surrogate_warns_outside_of_its_training_samples(model):
    surrogate = Surrogate.load(model)
    bounds = surrogate.training["bounds"]
    middle = (np.array(bounds["lower"]) + bounds["upper"]) / 2
    assert outside(surrogate, middle) == []
    beyond = middle.copy()
    beyond[0] = bounds["upper"][0] + 0.2 * (bounds["upper"][0] - bounds["lower"][0])
    assert len(outside(surrogate, beyond)) == 1
    assert describe("decay", surrogate, False)["error"].endswith("on test data")


def test_sliders_end_where_the_space_or_the_training_samples_do():
    model = Smooth(MIXTURE, LINE)
    assert slider_range(model)[1].tolist() == [4 / 16] * 16
    model.training = {"bounds": {"lower": [0.01] * 16, "upper": [0.2] * 16}}
    assert slider_range(model)[1].tolist() == [0.4] * 16
    open_below = Smooth(replace(BOX, lower=(-np.inf, 1.0)), LINE)
    assert slider_range(open_below)[0].tolist() == pytest.approx([-0.2, 1.0])
    open_below.training = {"bounds": {"lower": [0.3, 1.1], "upper": [0.7, 1.9]}}
    assert slider_range(open_below)[0].tolist() == [0.3, 1.0]


def test_groups_hold_every_parameter_once():
    for space in (MIXTURE, BOX, Space.vector([f"p{j}" for j in range(33)]), IMAGES):
        members = [j for group in groups(space) for j in group["members"]]
        assert sorted(members) == list(range(space.size))
    assert [g["title"] for g in groups(Space.vector([f"p{j}" for j in range(33)]))][-1] == "31 to 33"


def test_the_page_asks_nobody_else():
    """Of its own files; those of others the browser's test watches."""
    folder = files("gnvpro.apps.serving.page")
    texts = {file.name: file.read_text() for file in folder.iterdir() if file.name.endswith((".html", ".css", ".js"))}
    assert {"page.html", "style.css", "main.js"} <= texts.keys()
    assert [name for name, text in texts.items() if "http://" in text or "https://" in text] == []


def test_scripts_are_served_and_not_sent_twice(address):
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    for name in page_files():
        connection.request("GET", f"/page/files/{name}")
        answer = connection.getresponse()
        assert (answer.status, answer.headers.get_content_type()) == (200, "text/javascript")
        assert answer.read() == page_files()[name]
    connection.request("GET", f"/page/files/{name}", headers={"If-None-Match": answer.headers["ETag"]})
    again = connection.getresponse()
    assert (again.status, again.read()) == (304, b"")
    for missing in ("page.py", "..%2Fpage.py", "LICENSE-d3.txt"):
        connection.request("GET", f"/page/files/{missing}")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 404


def test_every_import_of_the_scripts_is_there():
    named = [name for text in page_files().values() for name in re.findall(rb'(?:from|import) "\./([^"]+)"', text)]
    assert set(named) <= {name.encode() for name in page_files()}
    assert len(named) > 20


def test_a_broken_scene_costs_no_answer():
    def scene(y):
        raise RuntimeError("my scene is broken")

    with (
        pytest.warns(UserWarning, match="my scene is broken"),
        serving(page_routes(models(), {}, scenes={"line": scene})) as broken,
    ):
        status, answer = ask(broken, "/page/evaluate", {"model": "line", "parameters": [0.5, 1.5]})
    assert status == 200
    assert "scene" not in answer
    assert len(answer["observables"]) == 3


def test_sensors_come_with_their_values():
    with serving(page_routes(models(), {}, scenes=scenes())) as found:
        y = [1 / 16] * 16
        _, answer = ask(found, "/page/evaluate", {"model": "curves", "parameters": y})
    line, sensors = answer["scene"][0]["shapes"]
    assert line["values"] is None
    np.testing.assert_array_equal(sensors["values"], np.reshape(answer["observables"], (3, 2)).T)
