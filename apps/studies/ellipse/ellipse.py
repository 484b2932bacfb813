"""What eliminating the last layer does, drawn: two features of points in the plane, and the line that W puts there.

Both trainings have the same points, network, initial weights and optimiser, full-batch Adam. They differ in one thing:
one moves W by gradient steps too, beginning at a random line; the other solves for W at every step (Newman et al. 2021,
Sec. 3). A third, in the table alone, is what elimination is for: second-order steps of the network, here by L-BFGS.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch
from rich.table import Table
from torch import Tensor

from gnvpro.apps.studies.ellipse.frames import Drawing, Frame, animation, strip
from gnvpro.apps.studies.ellipse.points import sample_points
from gnvpro.apps.studies.result import StudyResult, study_table
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.surrogate.elimination.labels import one_hot
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.objectives.full import FullObjective
from gnvpro.surrogate.objectives.protocol import Objective, Point
from gnvpro.surrogate.objectives.reduced import ReducedObjective, reduced_cross_entropy
from gnvpro.surrogate.progress import Report
from gnvpro.training.fitting.validation import ClassValidation
from gnvpro.training.solvers.first_order import Rule
from gnvpro.training.solvers.lbfgs import LimitedMemoryBFGS
from gnvpro.training.solvers.protocol import Status

DRAWN = ("gradient steps", "eliminated")
METHODS = (*DRAWN, "eliminated, L-BFGS")


@dataclass(frozen=True)
class Settings:
    """The toy.

    Attributes
    ----------
    hidden
        Widths before the two features.
    rate
        Of Adam, for both.
    budget
        Work units; a step of either takes two.
    frames
        Of the animation, at work units that grow geometrically.
    size
        Pixels of an animated frame across.
    """

    train: int = 400
    held_out: int = 1_000
    hidden: tuple[int, ...] = (8,)
    rate: float = 0.02
    budget: int = 600
    alpha_w: float = 1e-4
    alpha_theta: float = 1e-5
    frames: int = 40
    size: int = 800

    def __post_init__(self) -> None:
        if min(self.train, self.held_out, self.budget) < 2 or self.frames < 2 or not self.rate > 0:
            raise UsageError(
                f"expected two points, work units and frames at least and a positive rate, got train {self.train}, "
                f"held_out {self.held_out}, budget {self.budget}, frames {self.frames}, rate {self.rate}"
            )


QUICK = dict(train=200, held_out=200, budget=80, frames=6, size=480)


def run(options: StudySettings, report: Report) -> StudyResult:
    """Both trainings from every seed; the first is drawn."""
    settings, seeds = options.own(Settings, QUICK), options.seeds_from(2 if options.quick else 20)
    network = DenseNetwork(2, (*settings.hidden, 2))
    points, labels = sample_points(settings.train, seed=0)
    runs: dict[str, list[list[Frame]]] = {method: [] for method in METHODS}
    for i, seed in enumerate(seeds):
        for method in METHODS:
            report(i, len(seeds), f"seed {seed}, W: {method}")
            objective = reduced_cross_entropy(
                network, points, one_hot(labels, 2), alpha_w=settings.alpha_w, alpha_theta=settings.alpha_theta
            )
            runs[method].append(_train(objective, network, seed, method, settings))
    drawing = Drawing({method: runs[method][0] for method in DRAWN}, points, labels)
    numbers = {
        "frames": {method: [_numbers(frame) for frame in runs[method][0]] for method in METHODS},
        "final": {method: [_numbers(frames[-1]) for frames in runs[method]] for method in METHODS},
        "seeds": list(seeds),
        "study_settings": asdict(settings),
    }
    return StudyResult(
        numbers,
        [_table(runs)],
        {"ellipse": strip(drawing)},
        {"ellipse.gif": lambda path: animation(drawing, path, settings.size)},
    )


def _train(reduced: ReducedObjective, network: DenseNetwork, seed: int, method: str, settings: Settings) -> list[Frame]:
    """The last point within each of the moments' work units."""
    objective: Objective = reduced
    theta = network.initial(seed)
    if method == "gradient steps":
        full = FullObjective(reduced)
        objective, theta = full, full.start(theta, outer="random")
    points = _quasi_newton(objective, theta) if "L-BFGS" in method else _adam(objective, theta, settings.rate)
    validation = ClassValidation(network, *sample_points(settings.held_out, seed=1))
    frames: list[Frame] = []
    shown, following = next(points), next(points, None)
    for moment in _moments(settings):
        while following is not None and following[1] <= moment:
            shown, following = following, next(points, None)
        point, _ = shown
        right = 1 - point.training_error(), 1 - validation.measure(point)[1]
        weights = point.network_weights, point.outer.compressed
        frames.append(Frame(network, moment, point.value, *right, *weights))
    return frames


def _adam(objective: Objective, theta: Tensor, rate: float) -> Iterator[tuple[Point, float]]:
    """Points with the work units they took, all samples in every step."""
    update = Rule("adam", rate, math.inf).update(theta)  # for its update: the rate is constant
    point = objective.at(theta.clone())
    while True:
        gradient = point.gradient  # paid for before the point is shown
        yield point, objective.meter.total
        update(gradient, rate)
        point = objective.at(theta.clone(), near=point)


def _quasi_newton(objective: Objective, theta: Tensor) -> Iterator[tuple[Point, float]]:
    """Likewise, until the solver ends."""
    solver, point, status = LimitedMemoryBFGS(), objective.at(theta), Status.running
    while status is Status.running:
        _ = point.gradient  # paid for likewise
        yield point, objective.meter.total
        step = solver.step(point)
        point, status = step.point, step.status


def _moments(settings: Settings) -> list[int]:
    """Work units that are drawn: every step early, then more and more apart."""
    grid = torch.logspace(0, 1, settings.frames, base=settings.budget // 2, dtype=torch.float64)
    return sorted({2 * round(float(step)) for step in grid})


def _numbers(frame: Frame) -> dict[str, Any]:
    return dict(
        work_units=frame.work_units,
        loss=frame.loss,
        train_accuracy=frame.train_accuracy,
        held_out_accuracy=frame.held_out_accuracy,
        line=frame.line.tolist(),
    )


def _table(runs: dict[str, list[list[Frame]]]) -> Table:
    title = f"Points inside an ellipse: median over {len(runs[METHODS[0]])} initial weights"
    table = study_table(title, "work units", "W", "loss", "lowest to highest", "training accuracy", "held-out accuracy")
    table.columns[0].justify, table.columns[1].justify = "right", "left"
    count = len(runs[METHODS[0]][0])
    for at in sorted({0, count // 4, count // 2, 3 * count // 4, count - 1}):
        for method in METHODS:
            frames = [frames[at] for frames in runs[method]]
            losses = [frame.loss for frame in frames]
            accuracies = zip(*((frame.train_accuracy, frame.held_out_accuracy) for frame in frames), strict=True)
            table.add_row(
                f"{frames[0].work_units:g}",
                method,
                f"{median(losses):.3f}",
                f"{min(losses):.3f} to {max(losses):.3f}",
                *(f"{median(values):.1%}" for values in accuracies),
            )
        table.add_section()
    return table
