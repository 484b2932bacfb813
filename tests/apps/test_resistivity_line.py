"""The resistivity problem from generation to the report, on the command line."""

import json

import numpy as np
import pytest

from gnvpro.pde_data.storage.dataset import open_dataset


@pytest.mark.long
@pytest.mark.usefixtures("fenicsx")
def test_from_generation_to_report(gnvpro, tmp_path, monkeypatch):
    from gnvpro.pde_data.problems.resistivity.problem import Resistivity
    from gnvpro.pde_data.problems.resistivity.reference_solver import PlainResistivity

    # The plain route on coarse cells: here its time does not matter.
    monkeypatch.setattr(Resistivity, "plain_route", lambda self: PlainResistivity(self, 0.25))
    data, model, out = tmp_path / "dcr.zarr", tmp_path / "model", tmp_path / "comparison"
    ran = gnvpro("generate", "dcr", "--samples", 40, "--set", "body_conductivity=0.1", "--out", data, "--json")
    assert ran.exit_code == 0, ran.stderr
    assert ran.numbers["design"] == "sobol-arcsine"
    assert ran.numbers["estimated_error"]["against"] == "spectral boundary elements"
    assert ran.numbers["estimated_error"]["anomalous"]["max"] < 3e-3
    with open_dataset(data) as stored:
        assert stored["anomalous"].dims == ("sample", "difference", "x1", "x2")
        difference = stored["observables"] - stored["background"] - stored["anomalous"]
        assert float(np.abs(difference).max()) == 0.0

    ran = gnvpro(
        "train", data, "--train", 32, "--validation", 8, "--test", 0, "--budget", 200, "--out", model, "--json"
    )
    assert ran.exit_code == 0, ran.stderr
    assert ran.numbers["error_anomalous"]["validation"] > ran.numbers["error"]["validation"]

    arguments = ("--samples", 5, "--repeats", 1, "--interpolation", "2,2,2", "--out", out, "--json")
    ran = gnvpro("compare", model, *arguments)
    assert ran.exit_code == 0, ran.stderr
    numbers = ran.numbers
    assert numbers["surrogate_error_anomalous"]["mean"] < 0.1
    assert numbers["surrogate_error_anomalous"]["mean"] < numbers["interpolation"]["error_anomalous"]["mean"]
    assert set(numbers["sweeps"]) == {"depth", "volume", "azimuth"}
    assert numbers["speedup_plain"] > 0
    assert json.loads((out / "comparison.json").read_text()) == numbers
    page = (out / "report.html").read_text()
    samples = ("the sample with the median error", "the worst sample")
    for heading in (*(f"Images of {sample}" for sample in samples), "Sweeps", "Interpolation, which needs no training"):
        assert heading in page
    assert "Sensor curves" not in page

    wrong = gnvpro("compare", model, "--interpolation", "2,2")
    assert wrong.exit_code == 2
    assert "expected 3 positive numbers of nodes" in wrong.stderr
