"""Tests of gnvpro, in the folders of what they test; `tests/benchmarks` measures seconds and is not among them."""

from pathlib import Path

PROJECT = Path(__file__).parents[1]
# Saved models and data sets of every schema version so far.
MODELS = PROJECT / "tests" / "surrogate" / "model" / "fixtures"
DATA_SETS = PROJECT / "tests" / "pde_data" / "storage" / "fixtures"
