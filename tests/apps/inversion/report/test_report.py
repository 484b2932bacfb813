"""The report of an inversion: complete, without other files, for every kind of result."""

import dataclasses
import re
from html import unescape
from types import SimpleNamespace

import numpy as np
import pytest

from gnvpro.apps.inversion.adequacy import Adequacy
from gnvpro.apps.inversion.posterior.observations import Noise
from gnvpro.apps.inversion.report.report import (
    MOST_PARAMETERS,
    costs,
    headlines,
    minimum,
    notes,
    parameters,
    rounded,
    shifts,
    write_report,
)
from gnvpro.pde_data.fields.field_modes import FieldModes
from gnvpro.pde_data.problems.resistivity.problem import Resistivity
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.laws import Normal
from gnvpro.surrogate.spaces import Space
from tests.apps.inversion.linear import FIT, box, images, invert


def text_of(page):
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", page, flags=re.S))))


@pytest.fixture
def page_of(tmp_path):
    def write(inversion):
        write_report(tmp_path / "report.html", inversion, "gnvpro invert model --observations d.csv")
        return (tmp_path / "report.html").read_text(encoding="utf-8")

    return write


def headings(page):
    return re.findall(r"<h2[^>]*>(.*?)</h2>", page)


def test_a_complete_result_has_all_sections_and_needs_no_other_file(page_of):
    inversion = invert(routes=("delayed", "surrogate"), adequacy=FIT)
    inversion = dataclasses.replace(inversion, corrected=inversion.minima[0])
    page = page_of(inversion)
    assert headings(page) == [
        "Can it be relied on?", "What the data say of each parameter", "Posterior", "Data fit", "Residuals", "Chains",
        "Parameters", "Minima", "Costs", "Routes against each other", "How to reproduce",
    ]  # fmt: skip
    sources = re.findall(r'(?:src|srcset|href)="([^#"][^"]*)"', page)
    assert sources
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    words = text_of(page)
    assert "gnvpro invert model --observations d.csv" in words
    assert "by delayed sampler" in words
    assert "by the PDE" in words


@pytest.mark.parametrize("n", [1, 3, 55])
def test_a_result_without_draws_pde_and_truth_is_reported(page_of, n):
    inversion = invert(box(n), truth=False)
    page = page_of(inversion)
    words = text_of(page)
    assert not {"Posterior", "Chains", "Costs", "Routes against each other"} & set(headings(page))
    assert "Laplace approximation" in words
    assert "there was no PDE to confirm it" in words
    assert "truth" not in words
    assert all(name in words for name in inversion.names)
    assert ("The other 43" in words) == (n == 55)


@pytest.mark.long
def test_of_many_parameters_the_best_informed_are_drawn(page_of):
    words = text_of(page_of(invert(box(20), images(), routes=("surrogate",))))
    assert f"The {MOST_PARAMETERS} of 20 parameters that the data inform best." in words


def test_the_resistivity_problem_comes_with_its_body(page_of):
    problem = Resistivity()
    assert "The body in the ground" in headings(
        page_of(invert(problem.parameters, problem.observables, problem=problem))
    )


def test_names_are_escaped(page_of):
    page = page_of(dataclasses.replace(invert(box(1)), model="<script>alert(1)</script>"))
    assert "<script>" not in page


def test_the_table_of_parameters_gives_intervals_truth_and_what_was_learned():
    inversion = invert(routes=("delayed",))
    away = dataclasses.replace(inversion, truth=inversion.map.parameters + 0.3 * np.eye(3)[0])
    rows = {row["name"]: row for row in parameters(away)}
    deviation = inversion.chains["delayed"].standard_deviation[0]
    low, high = inversion.chains["delayed"].quantiles(0.025, 0.975)[:, 0]
    assert rows["p0"]["interval"] == f"{rounded(low, deviation)} to {rounded(high, deviation)}"
    assert rows["p0"]["truth"].endswith("(outside)")
    assert not rows["p1"]["truth"].endswith("(outside)")
    assert rows["p0"]["prior"] == "0 to 1"
    learned = [float(row["learned"]) for row in parameters(away)]
    assert learned == sorted(learned)


@pytest.mark.parametrize(
    ("value", "deviation", "text"),
    [(0.60004, 0.0012, "0.6000"), (12.34, 3.0, "12.3"), (1234.5, 200.0, "1234"), (0.123456789, 0.0, "0.12346")],
)
def test_values_are_rounded_to_their_deviation(value, deviation, text):
    assert rounded(value, deviation) == text


def test_the_cards_say_whether_chains_agree_the_surrogate_is_fit_and_the_truth_is_inside():
    inversion = invert(routes=("delayed",), adequacy=FIT)
    cards = {text: value for value, text in headlines(inversion)}
    low, high = inversion.best_chains.quantiles(0.025, 0.975)
    inside = int(((inversion.truth >= low) & (inversion.truth <= high)).sum())
    assert cards["parameters have the truth in their 95 % interval"] == f"{inside} of 3"
    assert "fit" in cards.values()
    assert any("below 1.01, the chains agree" in text for text in cards) == inversion.best_chains.converged
    chi_squared = np.mean(inversion.residuals**2)
    assert f"{chi_squared:.3g}" in cards.values()


def test_chains_that_disagree_and_an_unfit_surrogate_are_named():
    inversion = invert(routes=("surrogate",), adequacy=Adequacy(2.0, 0.1, "8 PDE solves"))
    chains = inversion.chains["surrogate"]
    apart = chains.draws + 0.5 * np.arange(4)[:, None, None] * chains.standard_deviation
    apart = dataclasses.replace(chains, draws=apart, about={"divergences": 7})
    inversion = dataclasses.replace(inversion, chains={"surrogate": apart})
    assert not apart.converged
    said = " ".join(notes(inversion))
    assert "is not below 1.01" in said
    assert "7 divergences" in said
    assert "error of the surrogate is more than 1 of the noise" in said
    cards = headlines(inversion)
    assert any("not below 1.01" in text for _, text in cards)
    assert "not fit" in [value for value, _ in cards]
    assert notes(invert()) == []


def test_costs_are_counts_and_effective_samples_for_them():
    inversion = invert(routes=("delayed", "surrogate"))
    delayed, surrogate = costs(inversion)
    least = inversion.chains["delayed"].effective.min()
    assert (delayed["pde"], delayed["cheap"]) == ("600", "1,000")
    assert float(delayed["per_solve"]) == pytest.approx(least / 600, rel=0.05)
    assert float(delayed["per_second"]) == pytest.approx(least / 2.0, rel=0.05)
    assert delayed["how"] == "75 % accepted"
    assert surrogate["per_solve"] == "–"


def test_shifts_are_from_the_answer_in_its_standard_deviations():
    inversion = invert(routes=("delayed", "surrogate"))
    answer = inversion.chains["delayed"]
    moved = dataclasses.replace(answer, draws=answer.draws + 0.5 * answer.standard_deviation[1] * np.eye(3)[1])
    (row,) = shifts(dataclasses.replace(inversion, chains={"delayed": answer, "surrogate": moved}), [0, 1])
    assert row["largest"] == "0.5"
    assert row["values"] == ["+0; 1.00", "+0.5; 1.00"]
    assert shifts(invert(routes=("surrogate",)), [0]) == []


def test_minima_are_given_with_starts_and_distance():
    inversion = invert()
    lowest = inversion.minima[0]
    deviation = lowest.standard_deviations[0]
    other = dataclasses.replace(
        lowest, parameters=lowest.parameters + 3 * deviation * np.eye(3)[0], value=lowest.value + 2
    )
    row = minimum(inversion, other, [0])
    assert (row["higher"], row["apart"], row["starts"]) == ("2", "3", lowest.starts)
    assert minimum(inversion, lowest, [0])["apart"] == "0"


def test_correlated_noise_and_missing_observations_are_reported(page_of):
    inversion = invert(missing=2)
    m = inversion.density.data.size
    noise = Noise(np.linalg.cholesky(0.01 * (0.5 * np.eye(m) + 0.5)))
    words = text_of(
        page_of(dataclasses.replace(inversion, density=dataclasses.replace(inversion.density, noise=noise)))
    )
    assert f"{m - 2} of {m}" in words
    assert "decorrelated" in words


def test_random_fields_of_the_problem_are_shown(page_of):
    """By `fields` of the problem, whose coefficients are parameters beside others."""
    square, triangles = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), np.array([[0, 1, 2], [1, 3, 2]])
    modes = FieldModes(np.eye(4, 2), np.zeros(4), np.ones(2), 0.9, square, triangles)
    parameters = Space.of_laws({"k_2": Normal(), "inflow": (0.0, 1.0), "k_1": Normal()})
    inversion = invert(parameters, routes=("surrogate",), problem=SimpleNamespace(name="p", fields={"k": field(modes)}))
    page = page_of(inversion)
    assert headings(page).index("The field k") == 1
    assert "2 modes, 90.0% of the variance of its prior" in text_of(page)
    # Nothing is drawn in space, nor of a point.
    for other in (
        dataclasses.replace(inversion, problem=SimpleNamespace(name="p", fields={"k": field(in_space(modes))})),
        dataclasses.replace(inversion, chains={}),
    ):
        assert "The field k" not in headings(page_of(other))
    wrong = dataclasses.replace(inversion, problem=SimpleNamespace(name="p", fields={"m": field(modes)}))
    with pytest.raises(
        UsageError, match=r"fields\['m'\] of the problem: expected its coefficients as parameters, got no m_1"
    ):
        page_of(wrong)


def field(modes):
    return SimpleNamespace(modes=modes)


def in_space(modes):
    return dataclasses.replace(modes, nodes=np.eye(4, 3))
