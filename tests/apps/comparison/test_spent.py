"""What the samples of a surrogate cost, from what it says of itself."""

from types import SimpleNamespace

import pytest

from gnvpro.apps.comparison.spent import Spent


def surrogate(cost, directions=0, levels=(), contenders=(), errors=None):
    choice = {"error_left_out": 2.0, "contenders": list(contenders)}
    training = {"directions": directions, "choice": choice}
    if levels:
        training["fidelities"] = {"levels": [*levels, {"samples": 10, "seconds": 3.0}]}
    provenance = {"n_samples": 10, **({"cost": cost} if cost else {})}
    return SimpleNamespace(training=training, provenance=provenance, errors=errors or {"cross-validated": 0.01})


def test_solves_of_one_kind_cost_their_number():
    spent = Spent.of(surrogate(None))
    assert (spent.solves, spent.alternatives) == (10, ())
    assert spent.in_words() == "10 solves"


def test_derivatives_cost_what_was_measured():
    alone, both = {"directions": 0, "error": 6.0}, {"directions": 3, "error": 2.0}
    spent = Spent.of(surrogate({"seconds": 2.0, "derivative_seconds": 1.0}, 3, contenders=[both, alone]))
    assert spent.solves == pytest.approx(25)
    assert [(one.name, one.solves, one.error) for one in spent.alternatives] == [
        ("values alone", 10, pytest.approx(0.03)), ("all together", pytest.approx(25), 0.01),
    ]  # fmt: skip
    assert spent.in_words() == "10 solves, 3 derivatives each: as much as 25 solves"


def test_coarse_samples_cost_their_share():
    fine_alone = {"kind": "fine samples alone", "error": 8.0}
    level = {"samples": 100, "seconds": 0.3, "off": 0.05}
    spent = Spent.of(surrogate({"seconds": 3.0}, levels=[level], contenders=[fine_alone]))
    assert spent.solves == pytest.approx(20)
    assert {one.name: (pytest.approx(one.solves), pytest.approx(one.error)) for one in spent.alternatives} == {
        "fine samples alone": (10, 0.04), "coarse samples alone": (10, 0.05), "all together": (20, 0.01),
    }  # fmt: skip
    assert spent.in_words() == "10 solves and 100 coarse ones: as much as 20 solves"


@pytest.mark.parametrize("cost", [None, {"seconds": 2.0}])
def test_an_unknown_cost_is_not_invented(cost):
    spent = Spent.of(surrogate(cost, 2))
    assert (spent.solves, spent.alternatives) == (None, ())
    assert spent.in_words() == "10 solves, 2 derivatives each"
