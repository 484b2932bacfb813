"""The study of `make gpu` runs, here on the CPU and on few samples."""

from tests.benchmarks import gpu


def test_the_study_gives_a_table(monkeypatch):
    monkeypatch.setattr(gpu, "FIRST_STEPS", 2)
    monkeypatch.setattr(gpu, "STEPS", 2)
    monkeypatch.setattr(gpu, "WIDTHS", ((9, 24, 24, 48),))
    rows = gpu.study(["cpu"], (300,), seconds=0.001)
    (row,) = rows
    assert row["waits"] >= 3
    assert row["milliseconds"] > 0
    head, rule, line = gpu.as_table(rows).splitlines()
    assert head.count("|") == rule.count("|") == line.count("|")
