"""The routes to a posterior: on the surrogate alone, on it with the PDE's consent (delayed acceptance), or on the PDE."""

from __future__ import annotations

from typing import Literal

Route = Literal["surrogate", "delayed", "pde"]
