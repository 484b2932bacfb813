"""How often a fault is tried, and where the figures go."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

FULL = bool(os.environ.get("GNVPRO_FAULTS"))


@pytest.fixture
def repeats():
    """repeats(few, full): how often the fault is tried, `full` times where `make faults` asks for it."""
    return lambda few, full: full if FULL else few


@pytest.fixture
def fault_rng():
    """Draws of a test: the same in every run, unless GNVPRO_FAULTS_SEED says otherwise."""
    return np.random.default_rng(int(os.environ.get("GNVPRO_FAULTS_SEED", 0)))


@pytest.fixture
def fault_figures():
    """fault_figures(test, **counts): one line of JSON in the file that GNVPRO_FAULTS names (see docs/faults.md)."""

    def write(test: str, **counts):
        if FULL:
            with Path(os.environ["GNVPRO_FAULTS"]).open("a") as file:
                file.write(json.dumps({"test": test, **counts}) + "\n")

    return write
