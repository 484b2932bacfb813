"""What a model says of itself, printed and in a notebook."""

import dataclasses
import json

import pytest

from gnvpro.surrogate.model.load import load_model
from tests import MODELS


@pytest.mark.parametrize(("folder", "first"), [("schema-4", "error"), ("schema-2", "error")])
def test_a_surrogate_says_how_good_it_is(folder, first):
    model = load_model(MODELS / folder)
    text = repr(model)
    assert text.startswith("Surrogate\n")
    assert model.rows()[0][0].startswith(first)
    assert "trained by" in text
    assert " → " in model._repr_html_()
    numbers = json.loads(json.dumps(model.numbers()))
    assert numbers["kind"] == "surrogate"
    assert numbers["errors"] == model.errors


def test_a_model_without_record_is_printed_all_the_same():
    model = dataclasses.replace(
        load_model(MODELS / "schema-4"), training={}, errors={}, errors_anomalous={}, trust=None
    )
    assert [what for what, _ in model.rows()][:2] == ["maps", "network"]
    assert "none; gnvpro" in repr(model)
