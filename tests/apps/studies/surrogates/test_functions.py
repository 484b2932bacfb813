"""Data of the study: values known by hand, designs, noise, logarithmic parameters, and the Darcy solver."""

import numpy as np
import pytest

from gnvpro.apps.studies.surrogates import darcy, many
from gnvpro.apps.studies.surrogates.data import DATA, Folders, named
from gnvpro.apps.studies.surrogates.functions import FUNCTIONS
from gnvpro.apps.studies.surrogates.kept_aside import KEPT_ASIDE

ALL = {**FUNCTIONS, **KEPT_ASIDE}


@pytest.mark.parametrize(
    ("name", "at", "value"),
    [
        ("ishigami", [np.pi / 2, np.pi / 2, 0], 8),
        ("sobolg", [0.5] * 8, 0),
        ("friedman", [0.5, 1, 0.5, 1, 1], 25),
        ("welch20", [0] * 20, 0),
        ("kink", [0.3, 0, 0.4, 1], 0.3),
        ("disc", [0, 0.3, 0, 0], 1.5),
        ("bratley", [1] * 8, 0),
        ("linkletter", [np.pi / 2, np.pi / 10] + [0] * 8, 2),
        ("rosenbrock", [1] * 4, 0),
        ("branin", [np.pi, 2.275], 0.397887),
        ("robot-arm", [0] * 4 + [0.25] * 4, 1),
        ("beam", [0.1, 0.1, 0, 1e3, 1e11], [1.5e7, 6.25e-3, 0.025]),
        ("chain", [2.0, 2.0, 1.0], [2 * np.exp(-2), 1 - 3 * np.exp(-2)]),
    ],
)
def test_values_known_by_hand(name, at, value):
    observed = ALL[name].observe(np.array([at], float))
    np.testing.assert_allclose(observed, np.atleast_2d(value), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_a_design_has_a_point_in_every_stratum_and_tests_have_no_noise(name):
    function = ALL[name]
    y, c = function.design(20, seed=1)
    space = function.parameter_space
    assert space.contains(y).all()
    assert c.shape == (20, function.observable_space.size)
    assert np.isfinite(c).all()
    assert (np.abs(c - function.observe(y)).max() > 0) == (function.noise > 0)
    ends = np.stack([space.lower_bounds, space.upper_bounds])
    logarithmic = np.isin(space.names, function.logarithmic)
    for values in (y, ends):
        values[:, logarithmic] = np.log(values[:, logarithmic])
    strata = np.sort((20 * (y - ends[0]) / (ends[1] - ends[0])).astype(int), axis=0)
    np.testing.assert_array_equal(strata, np.repeat(np.arange(20)[:, None], len(space.names), axis=1))
    at, tested = function.test(5)
    np.testing.assert_array_equal(tested, function.observe(at))


def test_seeds_give_other_designs_and_the_same_test_points():
    function = FUNCTIONS["noisy"]
    assert not np.array_equal(function.design(10, 0)[0], function.design(10, 1)[0])
    np.testing.assert_array_equal(function.design(10, 0)[1], function.design(10, 0)[1])
    assert np.std(function.design(2000, 0)[1] - function.observe(function.design(2000, 0)[0])) == pytest.approx(
        1, abs=0.1
    )


def test_mass_of_the_chain_is_kept():
    y, c = KEPT_ASIDE["chain"].test(50)
    np.testing.assert_allclose(c.sum(1) + y[:, 2] * np.exp(-y[:, 0]), y[:, 2])


def test_many_trains_and_measures_on_different_samples_of_about_unit_spread():
    case = DATA["many"].case(2000, 1, Folders())
    assert case.samples.observables.shape == (2000, 5)
    assert not np.isin(case.samples.parameters, case.test.parameters).any()
    assert ((case.test.observables.std(0) > 0.5) & (case.test.observables.std(0) < 2)).all()
    np.testing.assert_allclose(many.draw(3, 2)[1], case.samples.observables[:3], rtol=1e-12)


def test_the_modes_of_log_permeability_are_orthogonal_and_of_variance_one_at_most():
    modes = darcy.modes()
    products = modes @ modes.T / darcy.CELLS**2
    np.testing.assert_allclose(products, np.diag(np.diag(products)), atol=1e-12)
    assert (np.diff(np.diag(products)) <= 1e-12).all()
    variance = (modes**2).sum(0)
    assert 0.5 < variance.min() < variance.max() < 1


def test_pressure_of_a_constant_permeability_is_that_of_poisson():
    pressure = darcy.pressure(np.zeros(darcy.MODES)).reshape(darcy.CELLS, darcy.CELLS)
    # Largest value of -Δu = 1 in the unit square: .0736713 (series), here between four centres.
    assert pressure.max() == pytest.approx(0.0736713, rel=2e-3)
    for turned in (pressure[::-1], pressure[:, ::-1], pressure.T):
        np.testing.assert_allclose(turned, pressure)


def test_what_flows_in_flows_out():
    y = np.linspace(-1, 1, darcy.MODES)
    a = np.exp(y @ darcy.modes()).reshape(darcy.CELLS, darcy.CELLS)
    flux = 2 * a * darcy.pressure(y).reshape(a.shape)
    assert flux[0].sum() + flux[-1].sum() + flux[:, 0].sum() + flux[:, -1].sum() == pytest.approx(1)


def test_solves_are_kept_in_the_folder_that_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(darcy, "SOLVES", 6)
    monkeypatch.setattr(darcy, "TEST", 2)
    case = DATA["darcy"].case(3, 0, Folders(cache=tmp_path / "new"))
    assert (len(case.samples), len(case.test), case.samples.observables.shape[1]) == (3, 2, 2500)
    monkeypatch.setattr(darcy, "pressure", lambda y: pytest.fail("solved again"))
    again = DATA["darcy"].case(3, 0, Folders(cache=tmp_path / "new"))
    np.testing.assert_array_equal(again.samples.observables, case.samples.observables)
    with pytest.raises(ValueError, match="name one with --set cache=FOLDER"):
        DATA["darcy"].case(3, 0, Folders())


def test_a_table_is_read_from_the_folder_that_is_named(tmp_path):
    rows = "\n".join(f"{i},{i * i % 7},{2 * i}" for i in range(20))
    (tmp_path / "concrete.csv").write_text("cement,water,strength\n" + rows)
    case = DATA["concrete"].case(0, 0, Folders(tables=tmp_path))
    assert (len(case.samples), len(case.test)) == (16, 4)
    assert case.samples.parameter_space.names == ("cement", "water")
    np.testing.assert_array_equal(case.test.observables[:, 0], 2 * case.test.parameters[:, 0])
    with pytest.raises(
        ValueError, match=r"boston is read from boston\.csv of a folder; name it with --set tables=FOLDER"
    ):
        DATA["boston"].case(0, 0, Folders())
    with pytest.raises(OSError, match="boston"):
        DATA["boston"].case(0, 0, Folders(tables=tmp_path))


def test_data_are_named_by_themselves_or_by_their_group():
    assert [data.name for data in named(("tables", "diabetes", "otl"))] == ["concrete", "boston", "diabetes", "otl"]
    with pytest.raises(ValueError, match="expected data among functions, kept-aside, .* got nonsense"):
        named(("otl", "nonsense"))
