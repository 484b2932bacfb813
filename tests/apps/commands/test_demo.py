"""The demo on few samples: what it leaves, and that finished parts are not done again."""

import json

import pytest

from gnvpro.apps.demo import demo
from gnvpro.pde_data.problems.convection.problem import ConvectionDiffusionReaction


@pytest.fixture
def small(monkeypatch, fenicsx):
    # The reference solver takes seconds a sample; the comparison is tested without it too.
    monkeypatch.delattr(ConvectionDiffusionReaction, "plain_route")
    return ("--samples", 64, "--fresh", 4, "--quick", "--json")


def test_it_leaves_a_report_and_a_summary_and_reuses_what_is_finished(gnvpro, small, tmp_path):
    out = tmp_path / "runs" / "demo"
    first = gnvpro("demo", "--out", out, *small)
    assert first.exit_code == 0, first.stderr
    assert (out / "report.html").stat().st_size > 10_000
    summary = json.loads((out / "summary.json").read_text())
    assert summary == first.numbers
    fixed = (
        "surrogate_error",
        "pde_error",
        "speedup_single",
        "speedup_batched",
        "samples_per_second",
        "train_cpu_seconds",
    )
    assert all(summary[name] > 0 for name in fixed)
    assert summary["speedup_plain"] is None
    assert [run["method"] for run in summary["runs"].values()] == ["closed form", "varpro-kf-krylov"]

    assert first.stderr.count("trained in") == 2

    told = []
    second = demo(out, 64, 4, quick=True, tell=told.append)
    assert sum("reused" in line for line in told) == 3
    assert second.numbers()["surrogate_error"] == summary["surrogate_error"]
    assert second.numbers().keys() == summary.keys()
    assert repr(second).splitlines()[-1].split() == ["report", str(out / "report.html")]


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(FileExistsError, match=r"not the folder of a demo \(it holds thesis\.tex\)"):
        demo(tmp_path)
