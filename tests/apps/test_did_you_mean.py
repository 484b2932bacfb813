"""A name that is nearly right is answered with the one that was meant, wherever it is written."""

import pytest

from gnvpro.apps.inversion.posterior.prior import Prior
from gnvpro.pde_data.problems.loading import load_problem
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.laws import law_of
from gnvpro.surrogate.model.load import load_model
from gnvpro.surrogate.model.spectral_steps import SpectralSteps
from gnvpro.surrogate.names import did_you_mean
from gnvpro.surrogate.spaces import Space
from gnvpro.training.class_settings import ClassSettings
from gnvpro.training.fit_settings import settings_of
from gnvpro.training.settings import TrainSettings
from tests.apps.conftest import TOY

SPACE = Space.vector(["amplitude", "rate"], lower=(1.0, 0.0), upper=(2.0, 1.0), law="uniform")


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("stepz", ["steps", "cells"], "did you mean steps? "),
        ("Time-Limit", ["time_limit", "ranks"], "did you mean time_limit? "),
        ("abacus", ["steps", "cells"], ""),
        (None, ["steps"], ""),
        ("x", [], ""),
        ("crd", ["cdr", "dcr"], "did you mean cdr or dcr? "),
    ],
)
def test_a_close_name_is_offered_and_no_other(name, known, hint):
    assert did_you_mean(name, known) == hint


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        (lambda: load_problem("nonlinear_difusion"), "nonlinear-diffusion"),
        (lambda: load_problem("cdr", {"setings": {}}), "settings"),
        (lambda: settings_of(TrainSettings, {"bugdet": 3}), "budget"),
        (lambda: ClassSettings(method="adm"), "adam"),
        (lambda: SpectralSteps.named("scalled"), "scaled"),
        (lambda: law_of({"law": "log-normal", "mean": 1}), "lognormal"),
        (lambda: Prior.of(SPACE, {"amplitud": (1.5, 0.1)}), "amplitude"),
    ],
)
def test_what_is_meant_stands_in_the_message(asked, meant):
    with pytest.raises(UsageError, match=rf"did you mean {meant}\?"):
        asked()


def test_commands_options_keys_of_a_file_studies_and_axes_too(gnvpro, model, tmp_path):
    def refused(*words):
        ran = gnvpro(*words)
        assert ran.exit_code == 2
        return " ".join(ran.stderr.replace("│", " ").split())

    (tmp_path / "settings.toml").write_text("sampels = 4")
    assert "Did you mean 'train'" in refused("trian", "data.npz")
    assert "--samples" in refused("generate", TOY, "--sampels", 4, "--out", tmp_path / "d.zarr")
    of_file = refused("generate", TOY, "--config", tmp_path / "settings.toml", "--out", tmp_path / "d.zarr")
    assert "unknown key 'sampels'; did you mean samples?" in of_file
    assert "unknown study 'elipse'; did you mean ellipse?" in refused("study", "elipse")
    assert "did you mean time?" in refused("propagate", model, "--of", "max:tme")


def test_a_model_beside_the_one_that_was_named_is_offered(model):
    with pytest.raises(FileNotFoundError, match=rf"is not a saved model.*did you mean {model}\?"):
        load_model(model.with_name(model.name + "s"))
    with pytest.raises(FileNotFoundError, match=r"model\.json$"):
        load_model(model.with_name("something-else"))


def test_observables_of_a_file(gnvpro, model, tmp_path):
    (tmp_path / "observed.csv").write_text('observable,value\n"time 0.5, sensor rigth",1.0\n')
    ran = gnvpro("invert", model, "--observations", tmp_path / "observed.csv", "--noise", "1%")
    assert ran.exit_code == 2
    assert "the model has no observable 'time 0.5, sensor rigth'; did you mean time 0.5, sensor right?" in " ".join(
        ran.stderr.split()
    )


def test_no_close_name_is_looked_for_among_very_many():
    assert did_you_mean("p_1", [f"p{i}" for i in range(6000)]) == ""
