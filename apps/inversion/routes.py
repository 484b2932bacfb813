"""By what a posterior is sampled."""

from __future__ import annotations

from typing import Literal

Route = Literal["surrogate", "delayed", "pde"]
