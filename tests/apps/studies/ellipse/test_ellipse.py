"""The ellipse: its data, what elimination does at equal work, and the pictures."""

import json

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from gnvpro.apps.studies.ellipse import ellipse
from gnvpro.apps.studies.ellipse.frames import Drawing, Frame, draw_features
from gnvpro.apps.studies.ellipse.points import level, outline, sample_points
from gnvpro.apps.studies.settings import StudySettings
from gnvpro.surrogate.elimination.labels import one_hot
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.objectives.full import FullObjective
from gnvpro.surrogate.objectives.reduced import reduced_cross_entropy


@pytest.fixture(scope="module")
def result():
    return ellipse.run(StudySettings(quick=True), lambda *_: None)


def test_labels_are_those_of_the_ellipse():
    points, labels = sample_points(500, seed=3)
    assert torch.equal(labels == 1, level(points) < 1)
    torch.testing.assert_close(level(outline(50)), torch.ones(50, dtype=torch.float64))
    assert 0.25 < float(labels.double().mean()) < 0.45
    # A line through the middle of the ellipse has both kinds on it: no line separates.
    inside = points[labels == 1]
    assert float(inside.max(0).values.min()) > 0 > float(inside.min(0).values.max())


def test_at_equal_work_the_eliminated_line_has_the_lower_loss(result):
    frames = result.numbers()["frames"]
    moved, eliminated = (frames[method] for method in ellipse.DRAWN)
    assert [f["work_units"] for f in moved] == [f["work_units"] for f in eliminated]
    assert all(e["loss"] < m["loss"] for e, m in zip(eliminated, moved, strict=True))
    final = result.numbers()["final"]
    assert max(f["loss"] for f in final["eliminated"]) < min(f["loss"] for f in final["gradient steps"])


def test_an_eliminated_line_is_the_best_one_for_its_features():
    """Whatever W, the full objective at the same network weights is not below the reduced one."""
    network = DenseNetwork(2, (4, 2))
    points, labels = sample_points(80, seed=0)
    reduced = reduced_cross_entropy(network, points, one_hot(labels, 2), alpha_w=1e-3)
    theta, full = network.initial(0), FullObjective(reduced)
    lowest = reduced.at(theta).value
    assert full.at(full.start(theta, outer="solved")).value == pytest.approx(lowest, rel=1e-12)
    assert all(full.at(full.start(theta, outer="random", seed=s)).value > lowest for s in range(5))


def test_an_adam_step_costs_two_units_either_way():
    network, settings = DenseNetwork(2, (4, 2)), ellipse.Settings(train=40, budget=8, frames=4, held_out=20)
    points, labels = sample_points(40, seed=0)
    for method in ellipse.DRAWN:
        reduced = reduced_cross_entropy(network, points, one_hot(labels, 2))
        objective = FullObjective(reduced) if method == "gradient steps" else reduced
        theta = network.initial(0) if objective is reduced else objective.start(network.initial(0), outer="random")
        at = ellipse._adam(objective, theta, settings.rate)
        assert [next(at)[1] for _ in range(4)] == [2, 4, 6, 8]


def test_pictures(result, tmp_path):
    result.files["ellipse.gif"](tmp_path / "ellipse.gif")
    assert (tmp_path / "ellipse.gif").stat().st_size < 2e6
    with Image.open(tmp_path / "ellipse.gif") as gif:
        assert gif.n_frames >= len(result.numbers()["frames"]["eliminated"])
    assert len(result.figures["ellipse"].axes) == 4 * min(6, len(result.numbers()["frames"]["eliminated"]))
    json.dumps(result.numbers())


@pytest.mark.parametrize("line", [(1.0, 0.2, 0.3), (0.1, -2.0, 0.5), (1.0, 0.0, 0.0)])
def test_the_line_drawn_is_where_the_logits_are_equal(line):
    axes, network = Figure().subplots(), DenseNetwork(2, (2,))
    weights = torch.stack([torch.zeros(3, dtype=torch.float64), torch.tensor(line, dtype=torch.float64)], 1)
    frame = Frame(network, 2, 1.0, 0.5, 0.5, network.initial(0), weights)
    draw_features(axes, frame, Drawing({}, *sample_points(5, seed=0)))
    x, y = axes.lines[0].get_data()
    np.testing.assert_allclose(line[0] * np.array(x) + line[1] * np.array(y) + line[2], 0, atol=1e-12)


@pytest.mark.parametrize("setting", [{"rate": 0}, {"frames": 1}, {"budget": 1}])
def test_settings_that_make_no_sense(setting):
    with pytest.raises(ValueError, match="expected two points, work units and frames"):
        ellipse.run(StudySettings(quick=True, set=setting), lambda *_: None)
