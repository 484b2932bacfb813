"""An independent solution of the resistivity problem: spectral boundary elements on the ellipsoid.

It shares nothing with the finite elements but the equation, and serves to state their error. With kappa = (m1 - m0) / m0
and phi the potential on the body's surface, for a homogeneous half-space (whose Green's function is 1/(4 pi m0 r) and
its mirror image, together k = 1/(4 pi r) + 1/(4 pi r')), or a layer on one with the body on one side of its bottom (with
more images, images.py),

    phi(x) + kappa ∮ (phi(y) - phi(x)) (dk_0/dn + dk_1/dn) dS = u_p(x)    x on the surface,
    u_s(r) = -kappa ∮ (phi(y) - mean) dk/dn dS                            r outside,

the first since ∮ dk_0/dn dS = -1/2 on a smooth surface. Seen from outside a constant has no flux through it
(∮ dk_1/dn dS = ∮ dk/dn dS = 0), but does have one by quadrature: kappa times it would be a source inside the body, wrong
by 2e-5 at 1000 times the ground's conductivity. What is subtracted removes it.

The ellipsoid is mapped from the unit sphere, phi expanded in spherical harmonics of it, and the equation tested with
them: the error falls exponentially with the degree. The kernel k_0 is singular like 1/r, which the sine in polar
coordinates about the point x removes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from gnvpro.pde_data.problems.resistivity.boundary_elements.images import Images, images_of_body, images_of_surface
from gnvpro.pde_data.problems.resistivity.boundary_elements.sphere import (
    frame,
    polar_grid,
    sphere_grid,
    spherical_harmonics,
    turned,
    turned_harmonics,
)
from gnvpro.pde_data.problems.resistivity.ground.layered import LayeredGround
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array

# Points per degree of the grids that resolve the kernels: about a point, and of the image and the receivers.
_SINGULAR, _NEARBY = 3, 3
# An image that is further from the body than this many of its longest semi-axes is resolved by the tested points.
_DISTANT = 4.0


@dataclass(frozen=True)
class EllipsoidOracle:
    """The anomalous potential of one ellipsoid in a half-space, homogeneous or layered, to a degree that is chosen.

    At the default degree of 12 the relative error is below 1e-6 for bodies with semi-axes 2 : 1 : 1 whose top is at
    least half a vertical semi-axis below the surface; longer or nearer bodies need more (`estimated_error` tells).

    Attributes
    ----------
    semi_axis_ratio
        Semi-axes over the size, along x1, x2 (at azimuth 0) and x3.
    background_conductivity, body_conductivity
        In S/m.
    degree
        Of the spherical harmonics.
    mirrored
        Whether there is an insulating surface at x3 = 0; without it the ground fills space.
    layered
        A layer over a half-space; `background_conductivity` is then that of the part with the body, and electrodes and
        receivers stand on the surface.
    """

    semi_axis_ratio: tuple[float, float, float] = (2.0, 1.0, 1.0)
    background_conductivity: float = 1.0
    body_conductivity: float = 10.0
    degree: int = 12
    mirrored: bool = True
    layered: LayeredGround | None = None

    def __post_init__(self) -> None:
        if self.degree < 1:
            raise UsageError(f"expected a degree of at least 1, got {self.degree}")
        if not min(*self.semi_axis_ratio, self.background_conductivity, self.body_conductivity) > 0:
            raise UsageError(
                f"expected positive semi-axes and conductivities, got {self.semi_axis_ratio}, "
                f"{self.background_conductivity} and {self.body_conductivity}"
            )
        ground = self.layered
        if ground is not None and not (self.mirrored and self.background_conductivity == ground.conductivity):
            raise UsageError(
                f"expected a surface and, around the body, the conductivity {ground.conductivity} S/m of its part of the "
                f"layered ground, got {'a' if self.mirrored else 'no'} surface and {self.background_conductivity} S/m"
            )

    def secondary_potential(
        self, centre: Array, size: float, azimuth: float, electrodes: Array, receivers: Array
    ) -> Array:
        """Anomalous potential at every receiver for 1 A into every electrode, in V: (n_electrodes, n_receivers).

        Parameters
        ----------
        centre : (3,)
            Of the body, in m, x3 negative.
        size
            Factor of `semi_axis_ratio`, in m.
        azimuth
            Angle from x1 towards x2 by which the body is turned, in rad.
        electrodes, receivers : (n, 2) or (n, 3)
            Positions; on the surface where they have no third coordinate.

        Raises UsageError: the body reaches the surface or the bottom of the layer, an electrode or receiver lies in it, or
        below the surface of a layered ground.
        """
        electrodes, receivers = _in_space(electrodes), _in_space(receivers)
        if self.layered is not None and (np.any(electrodes[:, 2] != 0) or np.any(receivers[:, 2] != 0)):
            raise UsageError("expected electrodes and receivers on the surface of a layered ground, got some below it")
        body = _Body(self, np.asarray(centre, float), size, azimuth)
        body.require_outside(electrodes, "electrodes")
        body.require_outside(receivers, "receivers")
        return body.at_receivers(body.coefficients(electrodes), receivers)

    def estimated_error(self, centre: Array, size: float, azimuth: float, electrodes: Array, receivers: Array) -> float:
        """Relative L2 error of `secondary_potential`, the largest over electrodes: an estimate, not a bound.

        What two degrees more change. It sees the quadratures as well, since their grids grow with the degree; the
        size of the last coefficients does not, and is too small by up to a factor of 8 for long conductive bodies.
        """
        finer = replace(self, degree=self.degree + 2)
        found, better = (
            oracle.secondary_potential(centre, size, azimuth, electrodes, receivers) for oracle in (self, finer)
        )
        change, scale = np.linalg.norm(found - better, axis=1), np.linalg.norm(better, axis=1)
        return float(np.divide(change, scale, out=np.zeros_like(change), where=scale > 0).max())


class _Body:
    """The discretised surface of one body."""

    def __init__(self, oracle: EllipsoidOracle, centre: Array, size: float, azimuth: float) -> None:
        self._oracle, ratio = oracle, np.array(oracle.semi_axis_ratio)
        if not size > 0:
            raise UsageError(f"expected a body of positive size, got {size}")
        if oracle.mirrored and not -centre[2] > size * ratio[2]:
            raise UsageError(
                f"a body with a vertical semi-axis of {size * ratio[2]:g} m at a depth of {-centre[2]:g} m reaches "
                "the surface; give a deeper or a smaller one"
            )
        ground, reach = oracle.layered, size * ratio[2]
        if ground is not None:
            free = (1 if ground.body_in_layer else -1) * (ground.layer.thickness + centre[2])
            if not free > reach:
                raise UsageError(
                    f"a body with a vertical semi-axis of {reach:g} m at a depth of {-centre[2]:g} m is not "
                    f"{'in' if ground.body_in_layer else 'below'} the layer, which ends at {ground.layer.thickness:g} m"
                )
        self._kappa = oracle.body_conductivity / oracle.background_conductivity - 1
        self._grids = _grids(oracle.semi_axis_ratio, oracle.degree)
        cosine, sine = np.cos(azimuth), np.sin(azimuth)
        turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
        grids, semi_axes = self._grids, size * ratio
        self._centre, self._turn, self._semi_axes = centre, turn, semi_axes
        self._tested = centre + (grids.sphere * semi_axes) @ turn.T
        self._points = centre + (grids.fine_sphere * semi_axes) @ turn.T
        self._normals = semi_axes.prod() * grids.fine_weights[:, None] * ((grids.fine_sphere / semi_axes) @ turn.T)
        self._tested_normals = semi_axes.prod() * grids.weights[:, None] * ((grids.sphere / semi_axes) @ turn.T)

    def coefficients(self, electrodes: Array) -> Array:
        """Of the surface potential in spherical harmonics, for 1 A into every electrode: (n_harmonics, n_electrodes)."""
        grids = self._grids
        operator = grids.harmonics + self._kappa * grids.singular
        for flux, harmonics in self._fluxes(images_of_body(self._oracle.layered, self._oracle.mirrored), self._tested):
            image = flux @ harmonics - flux.sum(axis=1, keepdims=True) * grids.harmonics
            operator = operator + self._kappa * image
        return np.linalg.solve(grids.test @ operator, grids.test @ self._primary(electrodes).T)

    def require_outside(self, positions: Array, what: str) -> None:
        """Raise a ValueError that names the first of these positions which lies in the body."""
        within = (((positions - self._centre) @ self._turn / self._semi_axes) ** 2).sum(axis=1) <= 1
        if within.any():
            raise UsageError(
                f"expected {what} outside the body, got {what[:-1]} {int(np.argmax(within))} at "
                f"{positions[np.argmax(within)].tolist()}; move it or make the body smaller"
            )

    def at_receivers(self, coefficients: Array, receivers: Array) -> Array:
        """Anomalous potential (n_electrodes, n_receivers)."""
        mean = self._grids.fine_mean @ (self._grids.fine_harmonics @ coefficients)
        images = images_of_surface(self._oracle.layered, self._oracle.mirrored)
        potential = np.zeros((coefficients.shape[1], len(receivers)))
        for flux, harmonics in self._fluxes(images, receivers):
            potential -= self._kappa * (flux @ (harmonics @ coefficients - mean)).T
        return potential

    def _primary(self, electrodes: Array) -> Array:
        """Potential without the body at the tested points (n_electrodes, n_tested)."""
        factor = 1 / (4 * np.pi * self._oracle.background_conductivity)
        potential = np.zeros((len(electrodes), len(self._tested)))
        for at, weight in images_of_surface(self._oracle.layered, self._oracle.mirrored).of(electrodes):
            potential += weight * factor / np.linalg.norm(at[:, None] - self._tested, axis=2)
        return potential

    def _fluxes(self, images: Images, targets: Array) -> Iterator[tuple[Array, Array]]:
        """Of the images of these targets, near and distant ones, with the harmonics at the points of either grid."""
        grids = self._grids
        if self._oracle.layered is None:
            fluxes = [weight * _flux(at, self._points, self._normals) for at, weight in images.of(targets)]
            if fluxes:
                yield sum(fluxes[1:], fluxes[0]), grids.fine_harmonics
            return
        # A layered ground has many, of which most are far away: the finer grid has seven times the points.
        away = np.array([np.linalg.norm(at - self._centre, axis=1).min() for at, _ in images.of(targets)])
        near, distant = images.split(away <= _DISTANT * self._semi_axes.max())
        yield near.flux(targets, self._points, self._normals), grids.fine_harmonics
        yield distant.flux(targets, self._tested, self._tested_normals), grids.harmonics


def _flux(targets: Array, points: Array, normals: Array) -> Array:
    """Of 1 / (4 pi r) through surface elements: (n_targets, n_points)."""
    # |x - y|² and (x - y)·n as matrix products: the differences themselves would be three times the memory.
    distance2 = (targets**2).sum(1)[:, None] + (points**2).sum(1) - 2 * targets @ points.T
    along = targets @ normals.T - (points * normals).sum(1)
    return along / (4 * np.pi * distance2 * np.sqrt(distance2))


@dataclass(frozen=True)
class _Grids:
    """What depends on shape and degree alone.

    Attributes
    ----------
    sphere : (n, 3), harmonics : (n, n_harmonics), weights : (n,)
        Points at which the equation is tested, harmonics there, and weights on the unit sphere.
    test : (n_harmonics, n)
        Projection onto the harmonics.
    fine_sphere, fine_weights, fine_harmonics
        A finer grid, for kernels that are nearly singular.
    singular : (n, n_harmonics)
        ∮ (Y(y) - Y(x)) dk_0/dn dS at the tested points.
    """

    sphere: Array
    harmonics: Array
    weights: Array
    test: Array
    fine_sphere: Array
    fine_weights: Array
    fine_harmonics: Array
    singular: Array

    @property
    def fine_mean(self) -> Array:
        """Weights of the mean over the unit sphere: (n_fine,)."""
        return self.fine_weights / (4 * np.pi)


@cache
def _grids(ratio: tuple[float, float, float], degree: int) -> _Grids:
    sphere, weights = sphere_grid(degree + 1, 2 * degree + 2)
    fine, fine_weights = sphere_grid(_NEARBY * degree, 2 * _NEARBY * degree)
    harmonics = spherical_harmonics(degree, sphere)
    return _Grids(
        sphere,
        harmonics,
        weights,
        harmonics.T * weights,
        fine,
        fine_weights,
        spherical_harmonics(degree, fine),
        _singular_operator(np.array(ratio), degree, sphere, harmonics),
    )


def _singular_operator(ratio: Array, degree: int, sphere: Array, harmonics: Array) -> Array:
    """By rings of tested points: turning a ring's grid by an angle only mixes harmonics of the same order."""
    about_pole, weights = polar_grid(_SINGULAR * degree, 2 * _SINGULAR * degree)
    ring = 2 * degree + 2
    operator = np.empty_like(harmonics)
    for start in range(0, len(sphere), ring):
        at = slice(start, start + ring)
        angles = np.arctan2(sphere[at, 1], sphere[at, 0])
        first = np.array([np.hypot(*sphere[start, :2]), 0.0, sphere[start, 2]])
        unturned = about_pole @ frame(first).T
        # On the ellipsoid (x - y)·n dS = abc (x·y - 1) dsigma, with x and y on the sphere: the same for the ring.
        flux = ratio.prod() * (unturned @ first - 1) / (4 * np.pi) * weights
        around = np.stack([turned(unturned, angle) for angle in angles])
        kernel = flux / np.linalg.norm((sphere[at, None] - around) * ratio, axis=2) ** 3
        integrals = turned_harmonics(kernel @ spherical_harmonics(degree, unturned), degree, angles)
        operator[at] = integrals - kernel.sum(axis=1, keepdims=True) * harmonics[at]
    return operator


def _in_space(positions: Array) -> Array:
    positions = np.atleast_2d(np.asarray(positions, float))
    if positions.ndim != 2 or positions.shape[1] not in (2, 3):
        raise UsageError(f"expected positions of shape (n, 2) or (n, 3), got {positions.shape}")
    return positions if positions.shape[1] == 3 else np.column_stack([positions, np.zeros(len(positions))])
