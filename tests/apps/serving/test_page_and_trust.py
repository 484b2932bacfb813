"""The page on the server that the command starts, and answers that say how far to trust them."""

import asyncio
import json
import urllib.error
import urllib.request

import numpy as np
import pytest

from gnvpro.apps.serving.served import ServedModel
from gnvpro.apps.serving.um_bridge import ProtocolError
from gnvpro.surrogate.model.surrogate import Surrogate
from tests.apps.serving.conftest import points


def ask(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def evaluate(server, config, y=None, name="smooth"):
    y = points(1)[0] if y is None else y
    status, body = ask(f"{server.url}/Evaluate", {"name": name, "input": [list(y)], "config": config})
    return status, json.loads(body)


def test_the_page_is_at_the_root_and_knows_the_models(server):
    status, page = ask(server.url)
    assert status == 200
    assert b"<html" in page
    _, models = ask(f"{server.url}/page/models")
    assert {"smooth", "second"} == {model["name"] for model in json.loads(models)["models"]}


def test_the_page_solves_the_pde_of_the_server(with_pde, model):
    surrogate = Surrogate.load(model)
    y = np.mean([surrogate.parameters.lower, surrogate.parameters.upper], 0)
    name = model.name
    status, body = ask(f"{with_pde.url}/page/solve", {"model": name, "parameters": y.tolist()})
    solved = json.loads(body)
    assert status == 200, solved
    _, by_protocol = evaluate(with_pde, {}, y, f"{name}-pde")
    np.testing.assert_allclose(np.ravel(solved["observables"]), np.ravel(by_protocol["output"]), rtol=1e-12)


def test_an_answer_says_how_far_to_trust_it(server, surrogate):
    y = points(1)[0]
    status, answer = evaluate(server, {"trust": 0.5}, y)
    assert status == 200
    said = answer["trust"]
    np.testing.assert_allclose(said["half_width"], surrogate.trust.bands.half_width(0.5), rtol=1e-15)
    wide = surrogate.trust.bands.half_width(0.5, simultaneous=True)
    np.testing.assert_allclose(said["half_width_simultaneous"], wide, rtol=1e-15)
    assert said["score"] == pytest.approx(surrogate.score(y[None])[0])
    assert said["trusted"] == bool(surrogate.trusted(y[None])[0])
    _, plain = evaluate(server, {}, y)
    assert plain == {"output": answer["output"]}


@pytest.mark.parametrize("level", [0.42, "0.9", True, None, [0.9]])
def test_a_level_that_is_not_there_is_refused(server, level):
    status, answer = evaluate(server, {"trust": level})
    assert status == 400
    assert answer["error"]["type"] == "InvalidInput"
    assert "0.5, 0.68" in answer["error"]["message"]


def test_a_level_is_meant_and_not_its_bits(server):
    status, answer = evaluate(server, {"trust": 1 - 0.1 - 0.1})
    assert status == 200
    assert answer["trust"]["half_width"] == evaluate(server, {"trust": 0.8})[1]["trust"]["half_width"]


@pytest.mark.parametrize("level", [0.9, 0.42])
def test_what_cannot_be_answered_is_not_computed(surrogate, level):
    class Counted:
        parameters, observables, calls = surrogate.parameters, surrogate.observables, 0

        def evaluate(self, y):
            self.calls += 1
            return surrogate.evaluate(y)

    served = ServedModel("counted", Counted())
    request = {"input": [points(1)[0].tolist()]}
    with pytest.raises(ProtocolError, match="has no error bands"):
        asyncio.run(served.answer("Evaluate", {**request, "config": {"trust": level}}))
    assert served.model.calls == 0
    assert asyncio.run(served.answer("Evaluate", request)).keys() == {"output"}
    assert served.model.calls == 1


@pytest.mark.long
def test_the_pde_has_no_bands(with_pde, model):
    space = Surrogate.load(model).parameters
    y = np.mean([space.lower, space.upper], 0)
    status, answer = evaluate(with_pde, {"trust": 0.9}, y, f"{model.name}-pde")
    assert status == 400
    assert answer["error"]["type"] == "UnsupportedFeature"
