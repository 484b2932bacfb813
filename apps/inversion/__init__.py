"""Parameters from observations: the maximum a posteriori point and the posterior, by a surrogate and by its PDE."""

from __future__ import annotations

from typing import Literal

# How a posterior is sampled: on the surrogate; on it, each draw accepted by the PDE (delayed acceptance); on the PDE.
Route = Literal["surrogate", "delayed", "pde"]
# What draws on the surrogate: chains by its gradient, importance sampling by mixtures, a random walk; or what suits it.
Sampler = Literal["auto", "nuts", "importance", "walk"]
