"""Red and blue points of the plane, blue inside of a tilted ellipse: no line separates them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Half axes and tilt; a third of the square [-1, 1]² is inside.
HALF_AXES, TILT = (0.85, 0.5), math.radians(30)


def sample_points(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Uniform points of [-1, 1]² (n, 2), and their labels (n,): 1 inside, 0 outside."""
    generator = torch.Generator().manual_seed(seed)
    points = 2 * torch.rand(n, 2, generator=generator, dtype=torch.float64) - 1
    return points, (level(points) < 1).long()


def level(points: Tensor) -> Tensor:
    """(n,): below one inside of the ellipse, one on it."""
    cos, sin = math.cos(TILT), math.sin(TILT)
    along = points @ points.new_tensor([[cos, -sin], [sin, cos]])
    return (along / points.new_tensor(HALF_AXES)).square().sum(1)


def outline(n: int = 200) -> Tensor:
    """Points on the ellipse (n, 2), closed."""
    angle = torch.linspace(0, 2 * math.pi, n, dtype=torch.float64)
    on_axes = torch.stack([HALF_AXES[0] * angle.cos(), HALF_AXES[1] * angle.sin()], 1)
    cos, sin = math.cos(TILT), math.sin(TILT)
    return on_axes @ on_axes.new_tensor([[cos, sin], [-sin, cos]])
