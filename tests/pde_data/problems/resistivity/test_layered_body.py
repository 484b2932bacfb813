"""The anomaly of a body in or below a layer: against the boundary elements, limits, derivatives, wrong settings."""

import json

import numpy as np
import pytest

from gnvpro.pde_data.problems.accuracy import estimated_error
from gnvpro.pde_data.problems.loading import registered_problem
from gnvpro.pde_data.problems.resistivity.boundary_elements.oracle import EllipsoidOracle
from gnvpro.pde_data.problems.resistivity.ground.layered import Layer
from gnvpro.pde_data.problems.resistivity.problem import Resistivity
from gnvpro.pde_data.problems.resistivity.reference_solver import PlainResistivity
from gnvpro.pde_data.problems.resistivity.surveys.survey import ReceiverPairs, Source, Survey
from gnvpro.pde_data.sampling import draw
from tests.calculus import assert_adjoint, assert_taylor

SURVEY = Survey(
    (Source((-1.0, 0.6), (1.0, -0.2)), Source((0.3, 0.2))),
    ReceiverPairs((((0.0, 0.0), (0.0, 0.5)), ((0.7, 0.1), (0.2, -0.6)), ((-0.4, 0.8), (0.9, 0.9)))),
)


def problem(layer, below, contrast=10.0, **options):
    """With a body of this contrast to the ground around it."""
    layer = Layer(*layer)
    depth = options.get("depth", (0.45, 0.75))
    around = layer.conductivity if depth[0] < layer.thickness else below
    options = {"mesh": "coarsest", "survey": SURVEY} | options
    return Resistivity(
        body_conductivity=contrast * around, background_conductivity=below, background_layer=layer, **options
    )


CASES = {
    "in a resistive layer": ((1.2, 0.1), 1.0, {}),
    "in a conductive layer": ((1.2, 1.0), 0.1, {}),
    "below a resistive layer": ((0.5, 0.1), 1.0, {"depth": (0.95, 1.25)}),
    "below a conductive layer": ((0.5, 1.0), 0.1, {"depth": (0.95, 1.25)}),
}
# One on either side of the interface is quick.
_QUICK = ("in a conductive layer", "below a resistive layer")
BY_CASE = pytest.mark.parametrize(
    ("layer", "below", "options"),
    [pytest.param(*case, id=name, marks=() if name in _QUICK else pytest.mark.long) for name, case in CASES.items()],
)


def by_oracle(problem, y):
    """Anomalous data by boundary elements of a degree that will do."""
    oracle = EllipsoidOracle(
        problem.semi_axis_ratio, problem.ground.conductivity, problem.body_conductivity, 10, layered=problem.ground
    )
    survey, rows = problem.survey, []
    for depth, volume, azimuth in y:
        potentials = oracle.secondary_potential(
            np.array([0.0, 0.0, -depth]), problem.size(volume), azimuth, survey.electrodes, survey.receivers.electrodes
        )
        rows.append(survey.data(survey.currents @ potentials))
    return np.array(rows)


def anomaly(problem, y):
    return problem.evaluate(y) - problem.background


def worst(found, exact):
    return float((np.linalg.norm(found - exact, axis=1) / np.linalg.norm(exact, axis=1)).max())


@pytest.mark.usefixtures("fenicsx")
class TestAgainstTheOracle:
    @BY_CASE
    @pytest.mark.parametrize("contrast", [10.0, pytest.param(0.1, marks=pytest.mark.long)])
    def test_error_of_the_meshes(self, layer, below, options, contrast):
        coarsest, coarse = (problem(layer, below, contrast, mesh=mesh, **options) for mesh in ("coarsest", "coarse"))
        y = draw(coarse.parameters, 3, np.arange(2))
        exact = by_oracle(coarse, y)
        error = worst(anomaly(coarse, y), exact)
        assert error < 5e-3
        assert error < worst(anomaly(coarsest, y), exact) / 3
        # Of a ground whose layer ends elsewhere the same oracle is far away.
        other = problem(
            (0.9 * layer[0] if "depth" in options else 1.1 * layer[0], layer[1]), below, contrast, **options
        )
        assert worst(by_oracle(other, y[:1]), exact[:1]) > 8e-3

    @pytest.mark.long
    @BY_CASE
    def test_of_the_fine_mesh(self, layer, below, options):
        fine = problem(layer, below, mesh="fine", **options)
        y = draw(fine.parameters, 4, np.arange(2))
        assert worst(anomaly(fine, y), by_oracle(fine, y)) < 1e-3

    @pytest.mark.long
    def test_next_to_the_bottom_of_a_layer(self):
        """Nearer to it than to the surface: there is more ground on top of the mesh."""
        near = problem((2.0, 1.0), 0.1, mesh="coarse", depth=(1.25, 1.55))
        assert near._reference_mesh("coarse").cover > 0.5
        y = draw(near.parameters, 4, np.arange(1))
        assert worst(anomaly(near, y), by_oracle(near, y)) < 5e-3

    @pytest.mark.long
    def test_derivatives_are_those_of_the_equation(self):
        fine = problem((1.2, 1.0), 0.1, mesh="fine", azimuth=(0.0, 1.5))
        y, steps = np.array([[0.6, 0.09, 0.5]]), np.diag([1e-3, 2e-4, 1e-3])
        for j, step in enumerate(steps):
            difference = (by_oracle(fine, y + step) - by_oracle(fine, y - step)) / (2 * step[j])
            error = np.linalg.norm(fine.jacobian(y)[..., j] - difference) / np.linalg.norm(difference)
            assert error < 2e-3

    @pytest.mark.exhaustive
    def test_a_data_set_states_its_error(self):
        small = problem((1.2, 1.0), 0.1)
        y = draw(small.parameters, 4, np.arange(2))
        assert estimated_error(small, y, small.evaluate(y))["anomalous"]["max"] < 2e-2


@pytest.mark.usefixtures("fenicsx")
class TestLimits:
    @pytest.mark.parametrize("contrast", [10.0, pytest.param(0.1, marks=pytest.mark.long)])
    @pytest.mark.parametrize(
        ("layer", "depth"),
        [
            pytest.param((1.2, 1.0), (0.45, 0.75), marks=pytest.mark.long),
            ((0.5, 1.0), (0.95, 1.25)),
        ],
        ids=["in the layer", "below it"],
    )
    def test_no_contrast_of_the_layers(self, layer, depth, contrast):
        """Meshes differ, and so do the sums."""
        layered = problem(layer, 1.0, contrast, mesh="coarse", depth=depth)
        plain = Resistivity(SURVEY, body_conductivity=contrast, mesh="coarse", depth=depth)
        y = draw(plain.parameters, 1, np.arange(2))
        np.testing.assert_allclose(layered.background, plain.background, rtol=1e-13)
        assert worst(anomaly(layered, y), anomaly(plain, y)) < 4e-3

    def test_no_body_no_anomaly(self):
        ground = problem((1.2, 0.1), 1.0, 1.0)
        y = draw(ground.parameters, 1, np.arange(2))
        np.testing.assert_array_equal(ground.evaluate(y), np.broadcast_to(ground.background, (2, 6)))

    def test_conductivities_scale(self):
        y = draw(problem((1.2, 0.1), 1.0).parameters, 1, np.arange(2))
        tenth, whole = problem((1.2, 0.1), 1.0).evaluate(y), problem((1.2, 1.0), 10.0).evaluate(y)
        np.testing.assert_allclose(tenth, 10 * whole, rtol=1e-9)


@pytest.mark.usefixtures("fenicsx")
class TestDerivatives:
    @BY_CASE
    def test_taylor_in_every_parameter(self, layer, below, options):
        ground = problem(layer, below, **options)
        y = draw(ground.parameters, 5, np.arange(1))
        for direction in np.diag([0.05, 0.02, 0.5])[:, None]:
            step = np.where(y + direction < ground.parameters.upper, direction, -direction)
            assert_taylor(ground.evaluate, ground.jvp(y, step), y, step)

    def test_adjoint(self):
        ground = problem((1.2, 0.1), 1.0)
        y = draw(ground.parameters, 5, np.arange(2))
        rng = np.random.default_rng(0)
        dy, dc = rng.standard_normal((2, 3)) * [0.1, 0.1, 1.0], rng.standard_normal((2, 6))
        assert_adjoint(lambda d: ground.jvp(y, d), lambda w: ground.vjp(y, w), dy, dc)

    def test_bits_do_not_depend_on_what_was_solved_before(self):
        y = draw(problem((1.2, 0.1), 1.0).parameters, 5, np.arange(3))
        np.testing.assert_array_equal(
            problem((1.2, 0.1), 1.0).evaluate(y)[2:], problem((1.2, 0.1), 1.0).evaluate(y[2:])
        )


def test_definition_and_options():
    given = {"thickness": 3.0, "conductivity": 0.1}
    layered = registered_problem("dcr", {"background_layer": given})
    assert layered.background_layer == Layer(3.0, 0.1)
    definition = json.loads(json.dumps(layered.definition))
    assert definition["options"]["background_layer"] == given
    assert registered_problem("dcr", definition["options"]) == layered
    assert "background_layer" not in Resistivity().definition["options"], "data sets made before are as they were"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"background_layer": Layer(0.8, 0.1)},
            "the layer ends at 0.8 m; expected all bodies in the layer or all below it",
        ),
        ({"background_layer": Layer(1.1, 0.1)}, "a layer of at most 0.075 m or at least 1.125 m"),
        ({"background_layer": Layer(0.07, 0.1)}, "or more ground between the bodies and the bottom of the layer"),
        ({"background_layer": Layer(3.0, 1e-5)}, "differ by a factor of at most 10000"),
    ],
)
def test_wrong_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Resistivity(**options)


@pytest.mark.usefixtures("fenicsx")
class TestPlainRoute:
    @pytest.mark.long
    @pytest.mark.parametrize(
        ("layer", "below", "options"), [CASES["in a conductive layer"], CASES["below a resistive layer"]]
    )
    def test_is_of_the_same_ground(self, layer, below, options):
        """As wrong as without a layer, for a resistive body: some tenths at this h."""
        ground = problem(layer, below, 0.1, **options)
        plain = ground.plain_route()
        assert isinstance(plain, PlainResistivity)
        y = draw(ground.parameters, 6, np.arange(1))
        found = PlainResistivity(ground, 0.2).evaluate(y) - ground.background
        assert worst(found, by_oracle(ground, y)) < 0.5
        empty = problem(layer, below, 1.0, **options)
        np.testing.assert_allclose(PlainResistivity(empty, 0.3).evaluate(y)[0], empty.background, atol=1e-12)
