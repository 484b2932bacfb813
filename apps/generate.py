"""`gnvpro generate`: a data set from PDE solves."""

from __future__ import annotations

from apps.console import Outcome, error_in_words, progress, seconds, table
from apps.options import GenerateOptions
from pde_data.generate import generate
from pde_data.problem import load_problem


def run(given: GenerateOptions) -> Outcome:
    """Make or finish the data set."""
    problem = load_problem(given.problem, given.set)
    with progress(f"solving {problem.name}") as report:
        summary = generate(
            problem,
            given.out,
            given.samples,
            given.seed,
            block_size=given.block_size,
            on_progress=lambda done, failed, total: report(done, total, f"{done}/{total}, {failed} failed"),
        )
    rows = [
        (
            "samples",
            f"{summary['n_ok']} of {summary['n_samples']}"
            + (f", {summary['n_failed']} failed" * bool(summary["n_failed"])),
        ),
        ("solved now", "none, it was complete" if summary["already_complete"] else _pace(summary)),
    ]
    if summary["estimated_error"]:
        rows.append(("the PDE's own error", error_in_words(summary["estimated_error"])))
    failure = None if summary["n_ok"] else f"no sample could be solved; gnvpro info {given.out} lists the reasons"
    return Outcome(summary, table(f"Data set {given.out}", rows), failure)


def _pace(summary: dict) -> str:
    return f"{summary['n_solved_now']} in {seconds(summary['wall_seconds'])} ({seconds(summary['cpu_seconds'])} of CPU)"
