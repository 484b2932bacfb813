"""Observations that are dropped on the page: read as an inversion reads them, and fitted."""

import json

import numpy as np
import pytest

from gnvpro.apps.inversion import maximum_a_posteriori
from gnvpro.apps.inversion.posterior.posterior import Posterior
from gnvpro.apps.serving.page.own_data import MOST_TEXT, fit, overlay, posterior_of
from gnvpro.apps.serving.page.page import page_routes
from gnvpro.surrogate.errors import UsageError
from tests.apps.serving.page.page_models import models, serving
from tests.apps.serving.page.test_page import ask

TRUTH = np.array([0.5, 1.5])
CSV = "name;measured [K]\nTime 0.2, Sensor 1;3,5\ntime 0.4, sensor 0;-1,25\n"


def observed(name):
    return models()[name].evaluate(TRUTH[None])[0]


def table(values, names, deviations=None):
    more = ["" if deviations is None else f",{d}" for d in (deviations if deviations is not None else values)]
    head = "observable,value" + ("" if deviations is None else ",standard_deviation")
    return "\n".join([head, *(f'"{n}",{v}{m}' for n, v, m in zip(names, values, more, strict=True))])


def test_tables_and_json_are_what_an_inversion_reads(tmp_path):
    model, values = models()["line"], observed("line")
    file = tmp_path / "own.csv"
    file.write_text(table(values, model.observables.names))
    expected = Posterior.of(model, file, "2%")
    named = {"sine": values[0], "decay": values[2], "product": None}
    for text, missing in (
        (file.read_text(), []),
        ("\ufeff" + file.read_text(), []),
        (json.dumps(values.tolist()), []),
        (json.dumps({"observations": values.tolist()}), []),
        (json.dumps(named), [1]),
    ):
        found, noise = posterior_of(model, text, "own", "")
        np.testing.assert_array_equal(found.data, np.where(np.isin(np.arange(3), missing), np.nan, expected.data))
        np.testing.assert_array_equal(found.noise.scales[found.measured], expected.noise.scales[found.measured])
        assert noise == "2%"


def test_noise_that_came_with_the_data_is_taken():
    model, values = models()["line"], observed("line")
    text = table(values, model.observables.names, [0.1, 0.2, 0.3])
    posterior, noise = posterior_of(model, text, "own.csv", " ")
    assert noise == "data"
    shown = overlay(posterior, noise)
    np.testing.assert_allclose(shown["deviations"], [0.1, 0.2, 0.3])
    np.testing.assert_allclose(shown["values"], values)
    assert posterior_of(model, text, "own.csv", "0.5")[0].noise.scales.tolist() == [0.5] * 3


def test_a_fit_is_the_point_that_made_the_data():
    model = models()["line"]
    found = fit(posterior_of(model, json.dumps(observed("line").tolist()), "own", "1%")[0])
    np.testing.assert_allclose(found["parameters"], TRUTH, atol=1e-6)
    assert found["misfit"] < 1e-6
    assert found["remarks"] == []
    far = fit(posterior_of(model, json.dumps((10 * observed("line")).tolist()), "own", "1%")[0])
    assert any(remark.startswith("at a bound: ") for remark in far["remarks"])
    assert "the model does not explain these data within their noise" in far["remarks"]


@pytest.mark.parametrize(
    ("text", "noise", "said"),
    [
        ("observable,value\ncosine,1\n", "", "has no observable 'cosine'"),
        ("observable,value\nsine,one\n", "", "line 2: expected a number, got 'one'"),
        ("value\n1\n2\n", "", "expected 3 lines"),
        ("[1, 2]", "", "expected 3 numbers"),
        ('["/etc/passwd"]', "", "expected"),
        ("{1: 2}", "", "it begins as JSON, and is none"),
        ("[1e308, -1e308, 1e308]", "1e-300", "whose ratio has a square, got 1e+308 and 1e-300; check the units"),
        ("[1, 2, 3]", "1e-300", "whose ratio has a square"),
        ("[1, 2, 3]", "1e200", "whose ratio has a square"),
        ('{"sine": [1e308, 1e308]}', "1", "whose ratio has a square"),
        ("[1, 2, 3]", "/etc/noise.csv", "expected noise such as 2%"),
        ("[1, 2, 3]", "much", "expected noise such as 2%"),
        ("[1, 2, 3]", "data", "came without standard deviations"),
        ("1," * MOST_TEXT, "", "expected at most 500,000 characters"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(text, noise, said):
    with pytest.raises(UsageError, match=r"^[^\n]*$") as refused:
        posterior_of(models()["line"], text, "own.csv", noise)
    assert said in str(refused.value)


def test_routes_overlay_fit_and_refuse():
    body = {"model": "line", "text": json.dumps(observed("line").tolist()), "name": "own.json", "noise": ""}
    with serving(page_routes(models(), {})) as address:
        status, shown = ask(address, "/page/observations", body)
        assert (status, shown["n"], shown["noise"]) == (200, 3, "2%")
        np.testing.assert_allclose(shown["values"], observed("line"))
        status, found = ask(address, "/page/fit", body)
        assert status == 200
        np.testing.assert_allclose(found["parameters"], TRUTH, atol=1e-6)
        assert ask(address, "/page/fit", body | {"text": "[1]"})[0] == 422
        status, said = ask(address, "/page/observations", body | {"text": 3})
        assert (status, said["error"].split(" as ")[0]) == (400, "expected the text of a table or of JSON")
        partial = body | {"text": CSV, "model": "curves", "name": "own.csv"}
        status, shown = ask(address, "/page/observations", partial)
        assert (status, shown["n"]) == (200, 2), shown
        assert shown["values"] == [None, None, None, 3.5, -1.25, None]


def test_equations_that_cannot_be_solved_are_a_refusal(monkeypatch):
    def fails(*_, **__):
        raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr(maximum_a_posteriori, "lsq_linear", fails)
    body = {"model": "line", "text": "[1, 2, 3]", "name": "own.json", "noise": ""}
    with serving(page_routes(models(), {})) as address:
        status, said = ask(address, "/page/fit", body)
    assert status == 422
    assert "SVD did not converge); check the units" in said["error"]
