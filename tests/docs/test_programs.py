"""The page's program, run as a reader would run it."""

import re

import numpy as np

from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.problems.loading import load_problem
from gnvpro.pde_data.storage.dataset import read_samples
from tests import PROJECT

PAGE = (PROJECT / "docs" / "programs.md").read_text()


def block(language, holding):
    blocks = re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
    (text,) = [text for text in blocks if holding in text]
    return text


def test_the_program_of_the_page_makes_a_data_set(tmp_path):
    (tmp_path / "plate.sh").write_text(block("sh", "awk"))
    (tmp_path / "plate.sh").chmod(0o755)
    (tmp_path / "plate.toml").write_text(block("toml", "plate.sh"))
    generate(tmp_path / "plate.toml", tmp_path / "plate.zarr", 6, options={"at_once": 2})
    samples = read_samples(tmp_path / "plate.zarr")
    k, q = samples.parameters.T
    np.testing.assert_allclose(samples.observables, np.stack([q / k, q / (2 * k)], axis=1), rtol=1e-5)
    assert samples.parameter_space.units == ("W/m/K", "W/m3")
    assert samples.observable_space.names == ("left", "right")


def test_the_fortran_description_of_the_page_is_one(tmp_path):
    for name, text in {"heat": "#!/bin/sh\n", "heat.nml.template": "k = {{ k }}\n", "mesh.dat": ""}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "heat.toml").write_text(block("toml", "heat.nml"))
    assert load_problem(str(tmp_path / "heat.toml")).observables.shape == (20,)


def test_the_options_and_settings_of_the_page_are_all_there_are():
    from dataclasses import fields

    from gnvpro.pde_data.problems.program.settings import Observables, Settings
    from gnvpro.pde_data.problems.um_bridge import UMBridge

    for kind in (Settings, Observables, UMBridge):
        for field in fields(kind):
            assert field.name in ("url", "model") or field.name in PAGE, field.name
