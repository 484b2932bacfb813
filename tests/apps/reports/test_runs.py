"""Histories as the report shows them."""

import pytest

from gnvpro.apps.reports.runs import Run, best_so_far


def test_the_best_so_far_never_rises_and_skips_what_was_not_measured():
    records = [
        {"work_units": work, "validation_error": error}
        for work, error in ((0.0, 9.0), (2.0, 0.5), (4.0, None), (6.0, 0.7), (8.0, 0.2))
    ]
    assert best_so_far(records, "work_units", "validation_error") == ([2.0, 6.0, 8.0], [0.5, 0.5, 0.2])


def test_the_chosen_network_ends_at_the_error_of_the_model(model):
    run = Run.of(model)
    best = best_so_far(run.chosen, "work_units", "validation_error")[1][-1]
    assert best == pytest.approx(run.errors["validation"], rel=1e-3)
    assert run.dropped == []


def test_levels_are_one_run_whose_work_adds_up(gnvpro, data, tmp_path):
    arguments = ("--network", "paper", "--solver", "krylov", "--budget", 30, "--out", tmp_path / "paper", "--json")
    numbers = gnvpro("train", data, *arguments).numbers
    run = Run.of(tmp_path / "paper")
    work = [record["work_units"] for record in run.chosen]
    assert work == sorted(work)
    assert work[-1] == pytest.approx(numbers["work_units"])
    assert run.dropped == []
