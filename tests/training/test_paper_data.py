"""The figures stated for the original study's CDR data, where its file is at hand."""

import os
from pathlib import Path

import pytest

from gnvpro.pde_data.storage.dataset import read_samples
from gnvpro.training.train import TrainSettings, train
from tests import PROJECT

FOLDER = Path(os.environ.get("GNVPRO_PAPER_DATA", PROJECT.parent / "shared" / "data"))
FILE = FOLDER / "CDR_Data.mat"

pytestmark = pytest.mark.skipif(not FILE.exists(), reason="the study's CDR_Data.mat is not here; set GNVPRO_PAPER_DATA")


@pytest.mark.parametrize(
    ("settings", "error", "work"),
    [
        pytest.param(TrainSettings(), 0.00055, 1550, marks=pytest.mark.long),
        (TrainSettings(quick=True), 0.0006, 820),
        (TrainSettings(network="paper", solver="krylov", budget=200), 0.0095, 700),
    ],
    ids=["defaults", "quick", "the study's protocol"],
)
def test_stated_error_within_the_stated_work(settings, error, work):
    split = read_samples(FILE).split(0, train=400, validation=200, test=200)
    trained = train(split, settings)
    assert trained.errors["test"] <= error
    assert trained.numbers()["work_units"] <= work
