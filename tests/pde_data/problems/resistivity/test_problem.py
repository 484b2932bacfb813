"""The resistivity problem as a user meets it: data, symmetries, derivatives, wrong settings."""

import json

import numpy as np
import pytest

from gnvpro.pde_data.problems.contract import Problem, SolveStatus
from gnvpro.pde_data.problems.loading import registered_problem
from gnvpro.pde_data.problems.resistivity.problem import Resistivity
from gnvpro.pde_data.problems.resistivity.surveys.survey import ReceiverPairs, Source, Survey
from gnvpro.pde_data.sampling import draw
from gnvpro.surrogate.forward_model import ForwardModel
from tests.calculus import assert_adjoint, assert_taylor

PROBLEM = Resistivity()
Y = draw(PROBLEM.parameters, 5, np.arange(3))


def anomaly(problem, y):
    return problem.evaluate(y) - problem.background


def test_spaces_and_definition():
    assert isinstance(PROBLEM, ForwardModel)
    assert isinstance(PROBLEM, Problem)
    assert PROBLEM.parameters.names == ("depth", "volume", "azimuth")
    assert PROBLEM.parameters.units == ("m", "m3", "rad")
    assert PROBLEM.observables.size == 882
    definition = json.loads(json.dumps(PROBLEM.definition))
    assert registered_problem("dcr", definition["options"]) == PROBLEM
    assert definition["reference_mesh_sha256"] != Resistivity(mesh="fine").definition["reference_mesh_sha256"]


def test_background_is_that_of_two_points():
    x1, x2 = PROBLEM.survey.receivers.electrodes.T
    potential = (1 / np.hypot(x1 + 1.5, x2) - 1 / np.hypot(x1 - 1.5, x2)) / (2 * np.pi)
    np.testing.assert_allclose(PROBLEM.background, PROBLEM.survey.data(potential[None]), rtol=1e-13, atol=1e-15)
    half = Resistivity(background_conductivity=0.5)
    np.testing.assert_allclose(half.background, 2 * PROBLEM.background, rtol=1e-13)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": (0.3, 0.75)}, "reaches 0.3 m above its centre"),
        ({"depth": (0.75, 0.45)}, "ascending range of"),
        ({"volume": (-1.0, 0.1)}, "ascending range of"),
        ({"semi_axis_ratio": (2.0, 0.0, 1.0)}, "positive semi-axes"),
        ({"body_conductivity": 0.0}, "positive conductivity"),
        ({"semi_axis_ratio": (9.0, 1.0, 1.0)}, "mesh cannot be stretched"),
        ({"observable": "rho"}, "expected observable resistance or apparent_resistivity, got 'rho'"),
        ({"centre": 5}, r"centre as \(x1, x2\), each a number or a range, got 5"),
        ({"centre": (1, (0, 1, 2))}, "centre, x2 as a range"),
        ({"centre": ("a", 0)}, "centre, x1 to be a vector of real numbers"),
        ({"depth": 3}, "depth to be a vector"),
        ({"semi_axis_ratio": 2.0}, "semi_axis_ratio to be a vector"),
        ({"background_layer": {"thickness": 3, "conductivity": 1}}, "expected background_layer a Layer"),
    ],
)
def test_wrong_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Resistivity(**options)


def test_lists_and_arrays_are_ranges_too():
    expected = Resistivity(centre=((4.0, 10.0), 0.0), depth=(0.5, 0.7))
    for centre, depth in (([[4.0, 10.0], 0.0], [0.5, 0.7]), ((np.array([4.0, 10.0]), 0.0), np.array([0.5, 0.7]))):
        found = Resistivity(centre=centre, depth=depth)
        assert found == expected
        assert found.parameters == expected.parameters
        assert found.definition == expected.definition


@pytest.mark.usefixtures("fenicsx")
class TestSolve:
    def test_samples_outside_the_space_are_recorded(self):
        y = np.array([Y[0], [0.2, 0.1, 0.1], [0.6, np.nan, 0.1]])
        observables, status = PROBLEM.solve(y)
        assert status.tolist() == [SolveStatus.OK] + [SolveStatus.OUTSIDE_PARAMETER_SPACE] * 2
        assert np.isfinite(observables).all(axis=1).tolist() == [True, False, False]

    def test_bits_do_not_depend_on_what_was_solved_before(self):
        alone = Resistivity().evaluate(Y[2:])
        np.testing.assert_array_equal(PROBLEM.evaluate(Y)[2:], alone)

    def test_no_contrast_no_anomaly(self):
        same = Resistivity(body_conductivity=1.0)
        np.testing.assert_array_equal(same.evaluate(Y), np.broadcast_to(same.background, (3, 882)))

    def test_half_turn_of_the_body_changes_nothing(self):
        problem = Resistivity(azimuth=(0.0, 2 * np.pi))
        turned = Y + np.array([0, 0, np.pi])
        np.testing.assert_allclose(anomaly(problem, turned), anomaly(problem, Y), rtol=0, atol=1e-14)

    def test_mirrored_azimuth_mirrors_the_images(self):
        problem = Resistivity(azimuth=(-np.pi / 2, np.pi / 2))
        here, mirrored = (anomaly(problem, Y * [1, 1, sign]).reshape(3, 2, 21, 21) for sign in (1, -1))
        # x2 -> -x2 sends difference j (between electrodes j and j + 1) to difference 20 - j, with the other sign.
        np.testing.assert_allclose(mirrored[:, 1], -here[:, 1][:, :, ::-1], rtol=0, atol=1e-14)
        assert np.abs(here[:, 1]).max() > 1e-4

    def test_sizes_in_millimetres_are_sizes_in_metres(self):
        scale = 1e-3
        grid = PROBLEM.survey.receivers
        survey = Survey(
            (Source((-1.5e-3, 0.0), (1.5e-3, 0.0)),),
            type(grid)(tuple(scale * x for x in grid.first), scale * grid.spacing, grid.shape),
        )
        small = Resistivity(
            survey,
            depth=tuple(scale * d for d in PROBLEM.depth),
            volume=tuple(scale**3 * v for v in PROBLEM.volume),
        )
        expected = anomaly(PROBLEM, Y) / scale
        found = anomaly(small, Y * [scale, scale**3, 1])
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * np.abs(expected).max())

    def test_conductivities_count_by_their_ratio(self):
        scaled = Resistivity(background_conductivity=0.02, body_conductivity=0.2)
        expected = 50 * PROBLEM.evaluate(Y)
        np.testing.assert_allclose(scaled.evaluate(Y), expected, rtol=0, atol=1e-9 * np.abs(expected).max())

    def test_reciprocity(self):
        here, there = ((-0.7, 0.2), (0.9, 0.4)), ((0.1, -0.6), (0.3, 0.8))
        problem, swapped = (
            Resistivity(Survey((Source(*source),), ReceiverPairs((receiver,))))
            for source, receiver in ((here, there), (there, here))
        )
        np.testing.assert_allclose(anomaly(problem, Y), anomaly(swapped, Y), rtol=1e-7)

    def test_sources_superpose_and_share_their_electrodes(self):
        a, b, c = (-1.5, 0.0), (1.5, 0.0), (0.3, 1.4)
        survey = Survey((Source(a, b), Source(b, c), Source(a, c), Source(c), Source(c, a)))
        data = anomaly(Resistivity(survey), Y[:1]).reshape(5, 882)
        assert len(survey.electrodes) < len(survey.sources)
        scale = np.abs(data).max()
        np.testing.assert_allclose(data[0] + data[1], data[2], rtol=0, atol=1e-10 * scale)
        np.testing.assert_allclose(data[4], -data[2], rtol=0, atol=1e-10 * scale)
        np.testing.assert_allclose(data[0], anomaly(PROBLEM, Y[:1])[0], rtol=0, atol=1e-10 * scale)

    def test_multigrid_agrees_with_the_factorisation(self):
        iterated = Resistivity(linear_solver="cg")
        expected = anomaly(PROBLEM, Y[:1])
        difference = np.linalg.norm(anomaly(iterated, Y[:1]) - expected)
        assert difference < 1e-8 * np.linalg.norm(expected)

    def test_observables_are_smooth_in_depth(self):
        depths = np.linspace(0.55, 0.65, 9)
        sweep = anomaly(PROBLEM, np.stack([depths, np.full(9, 0.1), np.full(9, 0.6)], axis=1))
        # A sweep this short is a quintic to rounding; what is left would be noise of the mesh.
        basis = np.linalg.qr(np.vander(depths - depths.mean(), 6))[0]
        noise = sweep - basis @ (basis.T @ sweep)
        assert np.linalg.norm(noise) < 1e-6 * np.linalg.norm(sweep)


@pytest.mark.usefixtures("fenicsx")
class TestDerivatives:
    @pytest.mark.long
    def test_taylor_in_every_parameter(self):
        y = np.array([[0.55, 0.08, 0.4]])
        for direction in (*np.diag([0.08, 0.05, 0.3]), np.array([0.05, 0.03, 0.2])):
            assert_taylor(PROBLEM.evaluate, PROBLEM.jvp(y, direction[None]), y, direction[None])

    def test_taylor_where_a_parity_vanishes(self):
        # At azimuth zero the dipole has one parity, its derivative by azimuth the other.
        problem = Resistivity(azimuth=(-1.0, 1.0))
        y, direction = np.array([[0.6, 0.08, 0.0]]), np.array([[0.0, 0.0, 0.3]])
        assert_taylor(problem.evaluate, problem.jvp(y, direction), y, direction)

    @pytest.mark.long
    def test_taylor_with_poles_and_many_sources(self):
        survey = Survey(
            (Source((0.2, 0.9)), Source((-1.0, 0.3), (1.0, 0.1)), Source((0.2, 0.9), (1.0, 0.1)), Source((1.0, 0.1))),
            ReceiverPairs((((0.1, 0.0), (0.4, 0.2)), ((-0.3, 0.6), (0.0, -0.5)))),
        )
        problem = Resistivity(survey, body_conductivity=0.1, semi_axis_ratio=(1.5, 1.0, 0.8))
        y, direction = np.array([[0.55, 0.08, 0.4]]), np.array([[0.05, 0.03, 0.2]])
        assert_taylor(problem.evaluate, problem.jvp(y, direction), y, direction)

    def test_adjoint(self):
        rng = np.random.default_rng(0)
        dy, dc = rng.standard_normal((3, 3)), rng.standard_normal((3, 882))
        assert_adjoint(lambda d: PROBLEM.jvp(Y, d), lambda w: PROBLEM.vjp(Y, w), dy, dc)

    def test_values_beside_derivatives_are_those_of_a_solve(self):
        body = PROBLEM.placed(Y[0])
        values, _ = PROBLEM._solver.with_derivatives(body)
        alone = PROBLEM._solver.anomalous(body)
        np.testing.assert_allclose(values, alone, rtol=0, atol=1e-12 * np.abs(alone).max())

    @pytest.mark.parametrize("method", ["jvp", "vjp"])
    def test_counts_must_agree(self, method):
        with pytest.raises(ValueError, match=r"got 1 (directions|rows) for 3 samples"):
            getattr(PROBLEM, method)(Y, np.zeros((1, 3 if method == "jvp" else 882)))


def test_another_mesh_is_named_as_such_where_a_data_set_is_refused():
    from gnvpro.pde_data.storage.provenance import Recipe

    coarse, fine = (Recipe.of(Resistivity(mesh=mesh), 10, 0, 32, "random") for mesh in ("coarse", "fine"))
    assert "options.mesh coarse there, fine asked" in str(coarse.difference(fine))


@pytest.mark.usefixtures("fenicsx")
def test_a_system_that_is_not_solved_costs_one_row(monkeypatch):
    from gnvpro.pde_data.problems.linear_systems import SolverFailure
    from gnvpro.pde_data.problems.resistivity.solver import ResistivitySolver
    from gnvpro.pde_data.problems.solving import solve_block

    solve = ResistivitySolver.anomalous

    def second_depth_fails(self, body):
        if body.depth == Y[1, 0]:
            raise SolverFailure("gave up")
        return solve(self, body)

    monkeypatch.setattr(ResistivitySolver, "anomalous", second_depth_fails)
    assert np.isfinite(PROBLEM.evaluate(Y)).all(axis=1).tolist() == [True, False, True]
    block = solve_block(PROBLEM, Y)
    assert block.status.tolist() == [SolveStatus.OK, SolveStatus.EXCEPTION, SolveStatus.OK]
    assert block.messages[1] == "SolverFailure: gave up"


def test_plain_route_has_the_scale_of_the_problem():
    ten = Resistivity(depth=(4.5, 7.5), volume=(28.3, 90.0))
    assert ten.plain_route().h == pytest.approx(10 * PROBLEM.plain_route().h)
