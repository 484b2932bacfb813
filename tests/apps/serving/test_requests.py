"""Whatever is sent: an answer in the protocol, and a server that goes on answering rightly."""

import asyncio
import json
import sys
import time

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gnvpro.apps.serving.bounds import Bounds
from gnvpro.apps.serving.serve import serve_model
from gnvpro.apps.serving.served import ServedModel
from gnvpro.apps.serving.server import MODELS, Limits, make_app
from gnvpro.apps.serving.um_bridge import OPERATIONS
from gnvpro.surrogate.spaces import Space
from tests.apps.serving.conftest import points

TYPES = {"InvalidInput", "ModelNotFound", "UnsupportedFeature", "InvalidOutput"}
Y = points(1)[0].tolist()
FULL = {
    "name": "smooth",
    "input": [Y],
    "outWrt": 0,
    "inWrt": 0,
    "inWrt1": 0,
    "inWrt2": 0,
    "sens": [1.0] * 7,
    "vec": [1.0] * 3,
    "config": {},
}


class Talk:
    """Requests to an application, one after the other, from a test that is not a coroutine."""

    def __init__(self, app):
        self.loop = asyncio.new_event_loop()
        self.client = TestClient(TestServer(app, loop=self.loop), loop=self.loop)
        self.loop.run_until_complete(self.client.start_server())

    def post(self, path, body, **options):
        return self.request("POST", path, data=body if isinstance(body, bytes) else json.dumps(body), **options)

    def request(self, method, path, **options):
        async def ask():
            async with self.client.request(method, path, **options) as answer:
                return answer.status, json.loads(await answer.read())

        return self.loop.run_until_complete(ask())

    def together(self, *bodies, path="/Evaluate"):
        async def ask(body):
            async with self.client.post(path, data=json.dumps(body)) as answer:
                return answer.status, json.loads(await answer.read())

        async def all_of_them():
            return await asyncio.gather(*map(ask, bodies))

        return self.loop.run_until_complete(all_of_them())

    def close(self):
        self.loop.run_until_complete(self.client.close())
        self.loop.close()


@pytest.fixture(scope="module")
def talk(surrogate):
    talking = Talk(make_app({"smooth": serve_model("smooth", surrogate)}, Limits(body=20_000)))
    yield talking
    talking.close()


def without(*keys, **changes):
    return {key: value for key, value in (FULL | changes).items() if key not in keys}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"", "InvalidInput", "expected a JSON object"),
        (b'{"name": "smooth", "input": [[1.0, 2', "InvalidInput", "JSON"),
        (b'{"name": "smooth", "input": [[NaN, 0, 0]]}', "InvalidInput", "JSON"),
        (b'{"name": "smooth", "input": [[0, Infinity, 0]]}', "InvalidInput", "JSON"),
        (b'{"name": "smooth", "input": [[0, 1e999, 0]]}', "InvalidInput", "infinity"),
        (b"\xff\x00", "InvalidInput", "UTF-8"),
        (b"[" * 10_000 + b"]" * 10_000, "InvalidInput", "depth"),
        ([FULL], "InvalidInput", "got a list"),
        (without("name"), "InvalidInput", "name is missing"),
        (without(name=7), "InvalidInput", "name: expected the name of a model, got the number 7"),
        (without(name="rough"), "ModelNotFound", "'rough' is not served; expected one of smooth"),
        (without(config=[]), "InvalidInput", "config: expected an object"),
        (without("input"), "InvalidInput", "input is missing"),
        (without(input=Y), "InvalidInput", "put the vector in a list of its own"),
        (without(input=[]), "InvalidInput", "a list of 0"),
        (without(input=[Y, Y]), "InvalidInput", "a list of 2"),
        (without(input={"0": Y}), "InvalidInput", "got an object"),
        (without(input=[None]), "InvalidInput", "got null"),
        (without(input=[[*Y, 0.0]]), "InvalidInput", "expected 3 numbers, got 4"),
        (without(input=[[True, 0, 0]]), "InvalidInput", r"input[0][0]: expected a number, got true"),
        (without(input=[["0", 0, 0]]), "InvalidInput", "got a text"),
        (without(input=[[0, [0], 0]]), "InvalidInput", "got a list"),
        (without(input=[[10**30, 0, 0]]), "InvalidInput", "y0 = 1e+30, expected -1 to 1"),
        (without(input=[[0, 0, -1.5]]), "InvalidInput", "y2 = -1.5, expected -1 to 1"),
    ],
)
def test_mistakes_are_named(talk, operation, body, kind, words):
    status, answer = talk.post(f"/{operation}", body)
    assert (status, answer["error"]["type"]) == (400, kind)
    assert words in answer["error"]["message"]


@pytest.mark.parametrize(
    ("operation", "body", "words"),
    [
        ("Gradient", without("sens"), "sens is missing"),
        ("Gradient", without(sens=[1.0] * 3), "sens: expected 7 numbers, got 3"),
        ("Gradient", without(outWrt=1), "outWrt: expected 0, as there is one input vector"),
        ("Gradient", without(inWrt=-1), "inWrt: expected 0"),
        ("Gradient", without(inWrt=False), "inWrt: expected 0"),
        ("ApplyJacobian", without(vec=[1.0] * 7), "vec: expected 3 numbers, got 7"),
        ("ApplyJacobian", without(outWrt="0"), "outWrt: expected 0"),
        ("ApplyHessian", without("inWrt2"), "inWrt2 is missing"),
        ("ApplyHessian", without(vec=None), "vec: expected a list of 3 numbers, got null"),
    ],
)
def test_mistakes_of_derivatives_are_named(talk, operation, body, words):
    status, answer = talk.post(f"/{operation}", body)
    assert (status, answer["error"]["type"]) == (400, "InvalidInput")
    assert words in answer["error"]["message"]


def test_bodies_that_are_too_large_are_refused(talk):
    status, answer = talk.post("/Evaluate", b" " * 20_001)
    assert (status, answer["error"]["type"]) == (413, "InvalidInput")
    assert "20000 bytes" in answer["error"]["message"]

    async def in_pieces():  # no length said beforehand
        for _ in range(50):
            yield b" " * 1000

    status, answer = talk.request("POST", "/Evaluate", data=in_pieces())
    assert (status, answer["error"]["type"]) == (413, "InvalidInput")
    assert talk.post("/Evaluate", FULL)[0] == 200


def test_who_sends_too_slowly_is_not_waited_for(surrogate):
    talking = Talk(make_app({"smooth": serve_model("smooth", surrogate)}, Limits(read_seconds=0.05)))

    async def slowly():
        yield b"{"
        await asyncio.sleep(0.5)
        yield b"}"

    status, answer = talking.request("POST", "/Evaluate", data=slowly())
    assert (status, answer["error"]["type"]) == (408, "InvalidInput")
    assert talking.post("/Evaluate", FULL)[0] == 200
    talking.close()


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data"])
def test_the_content_type_does_not_matter(talk, content_type):
    headers = {"Content-Type": content_type}
    assert talk.post("/Evaluate", FULL, headers=headers)[0] == 200
    assert talk.post("/Evaluate", b"a=1", headers=headers)[1]["error"]["type"] == "InvalidInput"


def test_other_paths_and_methods(talk):
    for method, path, status in (("GET", "/Evaluate", 405), ("POST", "/Info", 405), ("POST", "/evaluate", 404)):
        got, answer = talk.request(method, path)
        assert (got, answer["error"]["type"]) == (status, "UnsupportedFeature")


def test_information(talk):
    assert talk.request("GET", "/Info") == (200, {"protocolVersion": 1.0, "models": ["smooth"]})
    assert talk.post("/InputSizes", FULL) == (200, {"inputSizes": [3]})
    assert talk.post("/OutputSizes", {"name": "smooth"}) == (200, {"outputSizes": [7]})
    status, about = talk.post("/ModelInfo", {"name": "smooth"})
    assert (status, about["support"]) == (200, dict.fromkeys(OPERATIONS, True))
    assert (about["parameters"]["upper"], about["observables"]["names"][-1]) == ([1.0] * 3, "c6")
    assert talk.request("GET", "/description") == (200, {"models": {"smooth": about}})
    assert talk.request("GET", "/health")[1]["status"] == "ok"


def test_the_root_is_free(surrogate):
    async def page(request):
        return web.json_response(list(request.app[MODELS]))

    app = make_app({"smooth": serve_model("smooth", surrogate)})
    app.add_routes([web.get("/", page)])
    talking = Talk(app)
    assert talking.request("GET", "/") == (200, ["smooth"])
    talking.close()


NUMBERS = st.one_of(st.floats(-2, 2), st.integers(-2, 2), st.floats(), st.integers())
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=5), st.just("smooth")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*FULL]) | st.text(max_size=3), inner),
    max_leaves=12,
)
# Requests that are nearly right reach further in than arbitrary ones do.
NEARLY = st.builds(
    lambda changes, missing: {k: v for k, v in (FULL | changes).items() if k not in missing},
    st.dictionaries(st.sampled_from([*FULL]), JSON | st.lists(st.lists(NUMBERS, max_size=4), max_size=2), max_size=2),
    st.sets(st.sampled_from([*FULL]), max_size=1),
)
BODIES = st.one_of(NEARLY.map(lambda body: json.dumps(body).encode()), JSON.map(lambda b: json.dumps(b).encode()))
PATHS = ("Info", "InputSizes", "OutputSizes", "ModelInfo", "description", *OPERATIONS, "health", "nothing")


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(PATHS),
    method=st.sampled_from(["POST", "POST", "POST", "GET", "PUT"]),
    body=BODIES | st.binary(),
)
def test_anything_is_answered_and_the_next_answer_is_right(talk, surrogate, path, method, body):
    status, answer = talk.request(method, f"/{path}", data=body)
    if status == 200:
        assert "error" not in answer
    else:
        assert 400 <= status < 500
        assert answer["error"]["type"] in TYPES - {"InvalidOutput"}
        assert answer["error"]["message"]
    if status == 200 and path in OPERATIONS:
        sent = json.loads(body)
        y = np.array(sent["input"], float)
        right = {
            "Evaluate": lambda: surrogate.evaluate(y),
            "Gradient": lambda: surrogate.vjp(y, np.array([sent["sens"]], float))[0],
            "ApplyJacobian": lambda: surrogate.jvp(y, np.array([sent["vec"]], float))[0],
        }
        if path in right:
            np.testing.assert_array_equal(answer["output"], right[path]())
        assert np.isfinite(answer["output"]).all()
    assert talk.post("/Evaluate", FULL) == (200, {"output": surrogate.evaluate(np.array([Y])).tolist()})


class Failing:
    """Nothing but NaN for a > 1/2, and an exception for a < 0."""

    parameters = Space.vector(["a"])
    observables = Space.vector(["b"], axis="observable")

    def evaluate(self, y):
        if (y < 0).any():
            raise FloatingPointError("diverged")
        return np.where(y > 0.5, np.nan, y)


def test_what_the_model_cannot_give_is_said():
    talking = Talk(make_app({"failing": ServedModel("failing", Failing())}))
    for a, words in ((1.0, "no finite result"), (-1.0, "FloatingPointError")):
        status, answer = talking.post("/Evaluate", {"name": "failing", "input": [[a]]})
        assert (status, answer["error"]["type"]) == (500, "InvalidOutput")
        assert words in answer["error"]["message"]
    assert talking.post("/Evaluate", {"name": "failing", "input": [[0.25]]}) == (200, {"output": [[0.25]]})
    assert talking.post("/ModelInfo", {"name": "failing"})[1]["support"] == {
        operation: operation == "Evaluate" for operation in OPERATIONS
    }
    talking.close()


class Wrong(Failing):
    def __init__(self, output):
        self.output = output

    def evaluate(self, y):
        return np.repeat(np.asarray(self.output)[None], len(y), axis=0)


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ([1.0, 2.0], "expected 1 real numbers, got (2,) of float64"),
        ([], "expected 1 real numbers, got (0,)"),
        ([[1.0]], "expected 1 real numbers, got (1, 1)"),
        ([1 + 2j], "expected 1 real numbers, got (1,) of complex128"),
        (["1"], "expected 1 real numbers"),
        ([None], "expected 1 real numbers"),
        ([np.nan], "no finite result"),
        ([np.inf], "no finite result"),
    ],
)
def test_what_is_no_output_is_not_sent(output, words):
    talking = Talk(make_app({"wrong": ServedModel("wrong", Wrong(output))}))
    status, answer = talking.post("/Evaluate", {"name": "wrong", "input": [[1.0]]})
    assert (status, answer["error"]["type"]) == (500, "InvalidOutput")
    assert words in answer["error"]["message"]
    talking.close()


class Slow(Failing):
    """Its first call imports, for a second; every batch takes longer than the event loop may be kept."""

    calls = 0

    def evaluate(self, y):
        self.calls += 1
        time.sleep(1.0 if self.calls == 1 else 0.05)
        return y


def test_a_warm_model_is_called_before_anybody_asks_and_a_slow_one_in_a_thread(surrogate):
    slow, quick = ServedModel("slow", Slow()), serve_model("quick", surrogate)
    slow.warm_up()
    quick.warm_up()
    assert slow.model.calls == 2
    assert slow.batcher.in_thread == {"Evaluate"}
    assert slow.batcher.n_rows == 0
    modules = set(sys.modules)
    talking = Talk(make_app({"slow": slow, "quick": quick}))
    for operation in OPERATIONS:
        assert talking.post(f"/{operation}", FULL | {"name": "quick"})[0] == 200
    assert talking.post("/Evaluate", {"name": "slow", "input": [[0.5]]}) == (200, {"output": [[0.5]]})
    assert {name for name in set(sys.modules) - modules if not name.startswith("encodings")} == set()
    talking.close()


def test_too_many_at_once_are_told_to_come_back(surrogate):
    talking = Talk(make_app({"smooth": serve_model("smooth", surrogate)}, Limits(requests=3)))
    answers = talking.together(*[FULL] * 12)
    assert {status for status, _ in answers} == {200, 503}
    for status, answer in answers:
        if status == 503:
            assert answer["error"]["type"] == "InvalidOutput"
            assert "try again later" in answer["error"]["message"]
    assert talking.post("/Evaluate", FULL)[0] == 200
    talking.close()


def test_the_bounds_is_where_the_surrogate_says_it_is_inside(surrogate):
    y = np.random.default_rng(2).uniform(-1.3, 1.3, (500, 3))
    bounds = Bounds.of(surrogate)
    inside = np.array([not bounds.violations(row) for row in y])
    assert 0 < inside.sum() < len(y)
    np.testing.assert_array_equal(inside, surrogate.inside(y))


def test_the_bounds_of_a_simplex():
    space = Space.vector(["a", "b"], lower=(0.0, 0.0), upper=(1.0, 1.0), constraint="simplex")

    class OnSimplex(Failing):
        parameters = space

    bounds = Bounds.of(OnSimplex())
    assert bounds.violations(np.array([0.4, 0.6])) == []
    assert "sum to 1.1, expected 1" in bounds.violations(np.array([0.5, 0.6]))[0]
    assert "b = -0.1, expected 0 to 1" in bounds.violations(np.array([1.1, -0.1])[[0, 1]] - [0.1, 0])[0]
