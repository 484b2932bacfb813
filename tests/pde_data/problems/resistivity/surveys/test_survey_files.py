"""Files of measurements: both formats there and back, units, and what damaged ones are told, with the line."""

from dataclasses import replace

import numpy as np
import pytest

import gnvpro
from gnvpro.pde_data.problems.resistivity.surveys import arrays
from gnvpro.pde_data.problems.resistivity.surveys.measured_survey import MeasuredSurvey
from gnvpro.pde_data.problems.resistivity.surveys.survey_observations import observations_for

LINE = arrays.dipole_dipole(8, 2.0, first=(10.0, 0.0))
SHIFTED = arrays.dipole_dipole(8, 2.0, first=(10.0, 5.0))
RNG = np.random.default_rng(1)


def measured(survey, noise=0.02):
    return MeasuredSurvey.of(
        survey, 100 / survey.geometric_factors * (1 + 0.1 * RNG.standard_normal(len(survey.abmn))), noise
    )


def by_place(read):
    """Electrodes are numbered anew by some formats: measurements by the places of their electrodes."""
    places = np.concatenate([[[np.inf, np.inf]], read.positions])[read.abmn]
    return {place.tobytes(): i for i, place in enumerate(places)}


@pytest.mark.parametrize("suffix", [".dat", ".ohm", ".obs", ".loc"])
@pytest.mark.parametrize(
    "survey",
    [LINE, SHIFTED, arrays.pole_dipole(7, 1.5), arrays.pole_pole(5), arrays.grid((5, 4), separations=2)],
    ids=["line", "line at x2 = 5 m", "pole-dipole", "pole-pole", "grid"],
)
def test_there_and_back(tmp_path, survey, suffix):
    given, path = measured(survey), tmp_path / f"survey{suffix}"
    assert gnvpro.write_survey(given, path) == path
    read = gnvpro.read_survey(path)
    places, there = by_place(read), by_place(given)
    assert set(places) == set(there)
    order = [places[key] for key in there]
    np.testing.assert_allclose(read.resistance[order], given.resistance, rtol=1e-8)
    np.testing.assert_allclose(read.standard_deviation[order], given.standard_deviation, rtol=1e-8)
    np.testing.assert_allclose(read.apparent_resistivity[order], given.apparent_resistivity, rtol=1e-8)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        gnvpro.write_survey(given, path)
    gnvpro.write_survey(survey, path, overwrite=True)
    assert np.isnan(gnvpro.read_survey(path).resistance).all()


def unified(header="# a b m n rhoa err", rows=("1 2 3 4 100 0.02", "2 3 4 5 90 0.03"), electrodes="# x z", height="0"):
    places = "\n".join(f"{2 * i} {height if i else 0}" for i in range(5))
    return (
        f"# a comment\n5# Number of electrodes\n{electrodes}\n{places}\n\n{len(rows)}# Number of data\n{header}\n"
        + "\n".join(rows)
        + "\n0\n"
    )


def read_text(tmp_path, text, name="line.dat", **options):
    path = tmp_path / name
    path.write_text(text)
    return gnvpro.read_survey(path, **options)


def test_apparent_resistivity_resistance_and_voltage_are_the_same(tmp_path):
    factors = arrays.dipole_dipole(5, 2.0, separations=1).geometric_factors
    by_rhoa = read_text(tmp_path, unified())
    np.testing.assert_allclose(by_rhoa.resistance, [100, 90] / factors)
    np.testing.assert_allclose(by_rhoa.standard_deviation, np.abs(by_rhoa.resistance) * [0.02, 0.03])
    r = by_rhoa.resistance
    rows = [f"{k + 1} {k + 2} {k + 3} {k + 4} {1e3 * 0.25 * r[k]:.12g} 250 {2 + k}" for k in range(2)]
    by_voltage = read_text(tmp_path, unified("#a b m n u/mV i/mA err/%", rows))
    np.testing.assert_allclose(by_voltage.resistance, r)
    np.testing.assert_allclose(by_voltage.standard_deviation, by_rhoa.standard_deviation)
    by_factor = read_text(tmp_path, unified("#A B M N rhoa/Ohmm k ip", [f"1 2 3 4 100 {2 * factors[0]} 3.4"]))
    assert by_factor.resistance[0] == pytest.approx(r[0] / 2), "the factor of the file made its apparent resistivity"


@pytest.mark.parametrize(
    ("header", "zeros"), [("r", "0"), ("u i", "0 0"), ("u i", "0 0.1"), ("u i", "0.1 0"), ("r u i", "0 0 0")]
)
def test_columns_of_zeros_do_not_count_beside_apparent_resistivities(tmp_path, header, zeros):
    rows = [f"1 2 3 4 100 {zeros}", f"2 3 4 5 90 {zeros}"]
    read = read_text(tmp_path, unified(f"# a b m n rhoa {header}", rows))
    np.testing.assert_allclose(read.apparent_resistivity, [100, 90])
    read = read_text(tmp_path, unified("# a b m n r u i", ["1 2 3 4 0 3 2", "2 3 4 5 0 4 2"]))
    assert read.resistance.tolist() == [1.5, 2]


def test_a_zero_among_resistances_is_a_datum(tmp_path):
    read = read_text(tmp_path, unified("# a b m n rhoa r", ["1 2 3 4 100 0", "2 3 4 5 90 -3"]))
    assert read.resistance.tolist() == [0, -3]
    assert read_text(tmp_path, unified("# a b m n r", ["1 2 3 4 0"])).resistance.tolist() == [0]
    assert read_text(tmp_path, unified("# a b m n r rhoa", ["1 2 3 4 0 0"])).resistance.tolist() == [0]


def test_what_is_marked_is_left_out(tmp_path):
    read = read_text(tmp_path, unified("#a b m n r valid", ["1 2 3 4 -0.3 1", "1 2 1 4 9 0", "2 3 4 5 -0.2 1"]))
    assert read.survey.measurements == ((1, 2, 3, 4), (2, 3, 4, 5))
    assert read.numbers()["valid"] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (unified(rows=["1 2 3 4 100 0.02", "1 2 1 4 9 0.1"]), r"line 13: \(a = 1.*A and M at the same place"),
        (unified(rows=["1 2 3 9 100 0.02"]), "line 12: .*electrodes 1 to 5"),
        (unified(rows=["1 2 3 4 100"]), "line 12: expected 6 columns, a b m n rhoa err, got 5"),
        (unified(rows=["1 2 3 4 abc 0.02"]), "line 12: expected finite numbers, got '1 2 3 4 abc"),
        (unified(rows=["1 2 3 4.5 100 0.02"]), "line 12: expected electrode numbers"),
        (unified("# a b m n u/kV i"), "line 12: column 'u/kV' above has an unknown unit"),
        (unified("# a b m rhoa err x"), "expected columns a, b, m, n above, n missing"),
        (unified("# a b m n r r"), "'r' twice"),
        (unified("# a b m n u i", ["1 2 3 4 1 0"]), "line 12: expected a current i, got 0"),
        (unified(rows=["1 2 3 4 100 -1"]), "line 12: expected a positive error"),
        (
            unified().replace("2# Number of data", "7# Number of data"),
            "expected 7 lines of measurements, the file ends after 3",
        ),
        (unified().replace("5# Number", "-5# Number"), "line 2: expected the number of electrodes"),
        (unified(height="1.5"), "heights from 0 to 1.5 m .*flatten=True"),
        ("5\n", "expected 5 lines of electrodes, the file ends after 0"),
        ("# nothing\n", "expected the number of electrodes, the file ends before it"),
    ],
)
def test_damaged_files_are_told_the_line(tmp_path, text, message):
    with pytest.raises(gnvpro.UsageError, match=message):
        read_text(tmp_path, text)


def test_heights_are_flattened_when_one_says_so(tmp_path):
    read = read_text(tmp_path, unified(height="1.5"), flatten=True)
    np.testing.assert_array_equal(read.positions, [[2.0 * i, 0.0] for i in range(5)])
    assert read_text(tmp_path, unified(height="0").replace("# x z", "# x y")).survey


@pytest.mark.parametrize(
    ("text", "abmn"),
    [
        ("! surface\n0 1 2\n2 3 0.5 0.1\n3 4 0.2 0.1\n1 2 1\n3 4 .1 .1\n", [(0, 1, 2, 3), (0, 1, 3, 4), (1, 2, 3, 4)]),
        ("0 0 1\n2 3 0.5\n", [(0, None, 2, 3)]),
        ("COMMON_CURRENT\n! general FORMAT\n1\n0 7 1 7 1\n2 7 3 7 0.5 0.1\n", [(0, 1, 2, 3)]),
        ("0 0 1 0 1\n2 0 3 0 0.5 0.1\n", [(0, 1, 2, 3)]),
        ("0 0 5 1 0 5 1\n2 0 5 2 0 5 0.5 0.1\n", [(0, 1, 2, None)]),
        ("0 1 2 3 0.5\n1 2 3 4 0.5\n", [(0, 1, 2, 3), (1, 2, 3, 4)]),
    ],
    ids=["surface", "pole", "general, 2-D", "surface, 3-D", "general, 3-D", "simple"],
)
def test_ubc_formats(tmp_path, text, abmn):
    read = read_text(tmp_path, text, "line.obs")
    found = [tuple(None if e == 0 else read.positions[e - 1, 0] for e in row) for row in read.abmn]
    assert found == abmn
    assert read_text(tmp_path, text, "line.dat").numbers() == read.numbers() or "COMMON" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 1 3\n2 3 0.5\n", "line 1: expected 3 potential pairs after it, the file ends after 1"),
        ("0 1 1\n2 3 0.5 0.1 7\n", "line 2: expected a potential pair"),
        ("0 1 1.5\n2 3 0.5\n", "line 1: expected the number of potential pairs"),
        ("0 1\n", "line 1: expected the electrodes of a current pair"),
        ("0 1 2\n2 3 0.5 0.1\n3 4 0.5\n", "line 3: expected a standard deviation as in the other lines"),
        ("0 1 1\n1 3 0.5\n", "line 2: .*B and M at the same place"),
        ("IPTYPE=1\n0 1 1\n", "induced polarisation"),
        ("0 0 1 1 5 1\n2 1 3 2 1 1 1\n", "expected"),
        ("! nothing\n", "there are none"),
    ],
)
def test_damaged_ubc_files_are_told_the_line(tmp_path, text, message):
    with pytest.raises(gnvpro.UsageError, match=message):
        read_text(tmp_path, text, "line.obs")


def test_noise_of_a_zero_is_not_lost(tmp_path):
    given = MeasuredSurvey.of(LINE, np.arange(len(LINE.abmn)) - 2.0)
    given = replace(given, standard_deviation=np.full(len(LINE.abmn), 0.1))
    with pytest.raises(
        gnvpro.UsageError, match=r"^measurements: measurement 3 has noise and a resistance of 0, .* \.obs"
    ):
        gnvpro.write_survey(given, tmp_path / "line.dat")
    read = gnvpro.read_survey(gnvpro.write_survey(given, tmp_path / "line.obs"))
    np.testing.assert_array_equal(read.standard_deviation, 0.1)
    exact = replace(given, standard_deviation=np.zeros(len(LINE.abmn)))
    assert (gnvpro.read_survey(gnvpro.write_survey(exact, tmp_path / "line.dat")).standard_deviation == 0).all()
    marked = replace(given, valid=given.resistance != 0)
    assert (
        gnvpro.read_survey(gnvpro.write_survey(marked, tmp_path / "marked.dat")).numbers()["valid"]
        == len(LINE.abmn) - 1
    )


def test_ubc_files_have_the_measurements_that_were_made(tmp_path):
    abmn, resistance = np.array([[1, 2, 3, 4], [1, 2, 4, 5], [2, 3, 4, 5]]), np.array([-1.0, np.nan, -3.0])
    given = MeasuredSurvey(LINE.positions, abmn, resistance, np.array([True, True, True]), np.full(3, 0.1))
    read = gnvpro.read_survey(gnvpro.write_survey(given, tmp_path / "some.obs"))
    assert read.resistance.tolist() == [-1, -3]
    assert read.standard_deviation.tolist() == [0.1, 0.1]
    none = replace(given, valid=np.zeros(3, dtype=bool))
    with pytest.raises(gnvpro.UsageError, match=r"^measurements: expected a valid measurement to write"):
        gnvpro.write_survey(none, tmp_path / "none.obs")
    assert not (tmp_path / "none.obs").exists()


def test_ubc_files_turn_pairs_whose_first_electrode_is_far_away(tmp_path):
    abmn = np.array([[0, 2, 3, 4], [1, 2, 0, 5], [0, 2, 0, 5]])
    given = MeasuredSurvey(LINE.positions, abmn, np.array([1.0, 2.0, 3.0]), np.ones(3, dtype=bool), np.full(3, 0.1))
    read = gnvpro.read_survey(gnvpro.write_survey(given, tmp_path / "poles.obs"))
    values, deviations = observations_for(read, given.survey.observables)
    np.testing.assert_allclose(values, [1, 2, 3])
    np.testing.assert_allclose(deviations, 0.1)
    assert sorted(read.resistance.tolist()) == [-2, -1, 3]


def test_other_suffixes_and_no_file(tmp_path):
    with pytest.raises(gnvpro.UsageError, match="unified data format"):
        gnvpro.read_survey("line.xyz")
    with pytest.raises(FileNotFoundError, match="no survey at"):
        gnvpro.read_survey(tmp_path / "line.dat")


def test_reciprocals_estimate_the_noise_that_was_added():
    survey = arrays.dipole_dipole(40, separations=20)
    back = survey.abmn[:, [2, 3, 1, 0]]
    abmn = np.concatenate([survey.abmn, back])
    clean = np.concatenate([100 / survey.geometric_factors, -100 / survey.geometric_factors])
    noisy = clean * (1 + 0.03 * np.random.default_rng(0).standard_normal(len(clean)))
    noisy[:20] *= 5  # outliers
    both = MeasuredSurvey(survey.positions, abmn, noisy, np.ones(len(abmn), dtype=bool))
    assert len(both.reciprocals) == len(survey.abmn)
    assert both.reciprocal_error == pytest.approx(0.03, rel=0.25)
    assert "reciprocal pairs" in repr(both)
    assert measured(survey).reciprocal_error is None


def test_options_read_a_file_where_the_user_is(tmp_path, monkeypatch):
    from gnvpro.pde_data.problems.loading import registered_problem

    gnvpro.write_survey(measured(LINE), tmp_path / "line.dat")
    monkeypatch.chdir(tmp_path)
    problem = registered_problem("dcr", {"survey": "line.dat"})
    assert problem.survey == LINE
    assert "line.dat" not in str(problem.definition)
    assert registered_problem("dcr", {"survey": {"file": "line.dat", "flatten": True}}) == problem
    with pytest.raises(FileNotFoundError, match=r"no survey at lines.dat"):
        registered_problem("dcr", {"survey": "lines.dat"})
    with pytest.raises(ValueError, match="expected file and flatten, got depth"):
        registered_problem("dcr", {"survey": {"file": "line.dat", "depth": 3}})
