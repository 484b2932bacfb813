"""Derivatives as they are read: of our data sets and their copies, and of files and arrays of others."""

import json

import numpy as np
import pytest
import xarray as xr

from gnvpro.apps.info import info
from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.storage.dataset import describe, open_dataset, read_samples
from gnvpro.surrogate.spaces import Space
from tests.pde_data.toy import WithJvp, decay_tangent

N, R = 20, 2


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("stored") / "d.zarr"
    generate(WithJvp(), path, 42, 5, derivatives=R)
    return path


@pytest.fixture(scope="module")
def arrays():
    """Parameters, observables, directions and derivatives of a linear map, and its Jacobian."""
    rng = np.random.default_rng(0)
    y, matrix, v = rng.uniform(size=(N, 3)), rng.normal(size=(5, 3)), rng.normal(size=(N, R, 3))
    jacobian = np.tile(matrix, (N, 1, 1))
    return dict(parameters=y, observables=y @ matrix.T, directions=v, derivatives=v @ matrix.T, jacobian=jacobian)


def without(arrays, *names):
    return {name: values for name, values in arrays.items() if name not in names}


def assert_consistent(samples, jacobian):
    """Every derivative is that of the linear map along its direction."""
    expected = np.einsum("noi,nri->nro", jacobian, samples.directions)
    np.testing.assert_allclose(samples.derivatives, expected, rtol=1e-12, atol=1e-12)


def test_derivatives_are_those_of_the_solved_samples_and_zero_where_they_failed(stored):
    samples, dataset = read_samples(stored), xr.open_zarr(stored).load()
    ok = dataset.status.values == 0
    assert samples.directions.shape == (ok.sum(), R, 2)
    known = samples.parameters[:, 1] >= 0.3
    assert 0 < known.sum() < len(samples)
    np.testing.assert_array_equal(samples.directions[known], dataset.direction.values[ok][known])
    for k in range(R):
        exact = decay_tangent(samples.parameters, samples.directions[:, k])
        np.testing.assert_allclose(samples.derivatives[known, k], exact[known], rtol=1e-13)
    assert not samples.directions[~known].any()
    assert not samples.derivatives[~known].any()


@pytest.mark.parametrize("copy", ["netcdf", "memory", "where"])
def test_copies_by_xarray_hold_the_same(stored, tmp_path, copy):
    one, dataset = read_samples(stored), open_dataset(stored).load()
    if copy == "netcdf":
        dataset.to_netcdf(tmp_path / "d.nc", engine="h5netcdf")
        other = read_samples(tmp_path / "d.nc")
        assert other.provenance["cost"] == one.provenance["cost"]
        assert describe(tmp_path / "d.nc")["derivative_failures"] == describe(stored)["derivative_failures"]
    else:
        other = read_samples(dataset.where(dataset.status == 0, drop=True) if copy == "where" else dataset)
    np.testing.assert_array_equal(one.directions, other.directions)
    np.testing.assert_array_equal(one.derivatives, other.derivatives)


def test_columns_are_put_into_another_order_with_their_derivatives(stored):
    samples = read_samples(stored)
    back = Space.vector(["rate", "amplitude"])
    ordered = samples.in_order_of(back, samples.observable_space)
    np.testing.assert_array_equal(ordered.directions, samples.directions[:, :, ::-1])


def test_info_shows_derivatives_their_failures_and_their_cost(stored):
    shown, about = repr(info(stored)), describe(stored)
    n_failed = len(about["derivative_failures"])
    assert f"2 a sample by jvp; of {n_failed} solved samples not all of them" in shown
    failure = about["derivative_failures"][0]
    assert f"derivatives, sample {failure['sample']}" in shown
    assert "a solve, a derivative" in shown
    assert "solves)" in shown
    numbers = json.loads(json.dumps(info(stored).numbers()))
    assert (numbers["n_directions"], numbers["derivative_method"]) == (R, "jvp")
    assert numbers["cost"].keys() == {"seconds", "derivative_seconds"}


class TestNpz:
    @pytest.mark.parametrize(
        "names", [("directions", "derivatives"), ("direction", "derivative"), ("Directions", "Derivatives")]
    )
    def test_of_others_may_hold_derivatives_along_directions(self, arrays, tmp_path, names):
        content = without(arrays, "jacobian", "directions", "derivatives")
        content |= dict(zip(names, (arrays["directions"], arrays["derivatives"]), strict=True))
        np.savez(tmp_path / "a.npz", **content)
        samples = read_samples(tmp_path / "a.npz")
        np.testing.assert_array_equal(samples.directions, arrays["directions"])
        assert_consistent(samples, arrays["jacobian"])
        assert describe(tmp_path / "a.npz")["n_directions"] == R
        assert "derivatives" in repr(info(tmp_path / "a.npz"))

    def test_of_others_may_hold_jacobians(self, arrays, tmp_path):
        np.savez(tmp_path / "a.npz", **without(arrays, "directions", "derivatives"))
        samples = read_samples(tmp_path / "a.npz")
        np.testing.assert_array_equal(samples.directions, np.tile(np.eye(3), (N, 1, 1)))
        assert_consistent(samples, arrays["jacobian"])

    def test_a_jacobian_on_the_simplex_becomes_derivatives_along_it(self, arrays, tmp_path):
        content = without(arrays, "directions", "derivatives")
        content["parameters"] = content["parameters"] / content["parameters"].sum(axis=1, keepdims=True)
        np.savez(tmp_path / "a.npz", **content)
        samples = read_samples(tmp_path / "a.npz")
        assert samples.parameter_space.constraint == "simplex"
        assert np.abs(samples.directions.sum(axis=2)).max() < 1e-15
        assert np.linalg.matrix_rank(samples.directions[0]) == 2
        assert_consistent(samples, arrays["jacobian"])

    def test_what_is_not_finite_is_not_known(self, arrays, tmp_path):
        content = {name: values.copy() for name, values in without(arrays, "jacobian").items()}
        content["derivatives"][3, 1, 2] = np.nan
        content["directions"][4, 0, 0] = np.nan
        np.savez(tmp_path / "a.npz", **content)
        samples = read_samples(tmp_path / "a.npz")
        unknown = ~samples.directions.any(axis=2)
        assert np.argwhere(unknown).tolist() == [[3, 1], [4, 0]]
        assert not samples.derivatives[unknown].any()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                dict(directions=None, jacobian=None),
                "expected directions with derivatives, or a jacobian, got derivatives",
            ),
            (dict(derivatives=None, jacobian=None), "got directions$"),
            (dict(), "got directions and derivatives and jacobian"),
            (
                dict(jacobian=None, directions=np.ones((N, R, 4))),
                r"directions \(20, number of directions, 3\), samples first, got \(20, 2, 4\)",
            ),
            (dict(jacobian=None, directions=np.ones((N, 3))), r"got \(20, 3\)"),
            (
                dict(jacobian=None, derivatives=np.ones((N, R + 1, 5))),
                r"expected derivatives \(20, .* got \(20, 3, 5\)",
            ),
            (
                dict(directions=None, derivatives=None, jacobian=np.ones((N, 3, 5))),
                r"jacobian \(20, 5, 3\) \(samples, observables, parameters\), got",
            ),
            (
                dict(directions=None, derivatives=None, jacobian=np.full((N, 5, 3), "a")),
                "expected jacobian to be real numbers",
            ),
        ],
    )
    def test_wrong_shapes_and_missing_partners_are_said(self, arrays, tmp_path, change, message):
        content = {name: values for name, values in (arrays | change).items() if values is not None}
        np.savez(tmp_path / "a.npz", **content)
        with pytest.raises(ValueError, match=message) as refused:
            read_samples(tmp_path / "a.npz")
        assert "a.npz: " in str(refused.value)


DIMENSIONS = dict(
    parameters=("run", "input"),
    observables=("run", "output"),
    directions=("run", "way", "input"),
    derivatives=("run", "way", "output"),
    jacobian=("run", "output", "input"),
)


def dataset_of(arrays, **dimensions):
    return xr.Dataset({name: ((DIMENSIONS | dimensions)[name], values) for name, values in arrays.items()})


class TestXarray:
    def test_dimensions_are_found_by_their_names_in_any_order(self, arrays):
        dataset = dataset_of(without(arrays, "jacobian")).transpose("output", "way", "input", "run")
        samples = read_samples(dataset)
        np.testing.assert_array_equal(samples.directions, arrays["directions"])
        assert_consistent(samples, arrays["jacobian"])

    @pytest.mark.parametrize("order", [("run", "output", "input"), ("input", "run", "output")])
    def test_so_are_those_of_jacobians(self, arrays, order, tmp_path):
        dataset = dataset_of(without(arrays, "directions", "derivatives")).transpose(*order)
        assert_consistent(read_samples(dataset), arrays["jacobian"])
        dataset.to_netcdf(tmp_path / "d.nc", engine="h5netcdf")
        assert_consistent(read_samples(tmp_path / "d.nc"), arrays["jacobian"])
        dataset.to_zarr(tmp_path / "d.zarr", consolidated=False)
        assert_consistent(read_samples(tmp_path / "d.zarr"), arrays["jacobian"])
        assert [describe(tmp_path / name)["n_directions"] for name in ("d.nc", "d.zarr")] == [3, 3]

    def test_observables_may_have_several_axes(self, arrays):
        jacobian = np.random.default_rng(1).normal(size=(N, 2, 4, 3))
        observables = np.einsum("nabi,ni->nab", jacobian, arrays["parameters"])
        dataset = xr.Dataset(
            dict(
                parameters=(("sample", "p"), arrays["parameters"]),
                observables=(("sample", "t", "x"), observables),
                jacobian=(("p", "x", "sample", "t"), jacobian.transpose(3, 2, 0, 1)),
            )
        )
        assert_consistent(read_samples(dataset), jacobian.reshape(N, 8, 3))

    def test_a_quantity_called_direction_is_none_of_ours(self, arrays):
        dataset = dataset_of(without(arrays, "jacobian", "directions", "derivatives"))
        dataset["direction"] = ("run", np.arange(N))
        assert read_samples(dataset).n_directions == 0

    @pytest.mark.parametrize(
        ("dimensions", "left_out", "message"),
        [
            (dict(), ("jacobian", "derivatives"), "or a jacobian, got directions"),
            (
                dict(jacobian=("run", "output", "other")),
                ("directions", "derivatives"),
                r"jacobian with dimensions \(run, output, input\), got",
            ),
            (
                dict(derivatives=("run", "other", "output")),
                ("jacobian",),
                r"derivatives with dimensions \(run, way, output\), got \(run, other",
            ),
        ],
    )
    def test_other_dimensions_are_said(self, arrays, dimensions, left_out, message):
        with pytest.raises(ValueError, match=message):
            read_samples(dataset_of(without(arrays, *left_out), **dimensions))

    def test_one_direction_needs_its_dimension_too(self, arrays):
        content = without(arrays, "jacobian") | {name: arrays[name][:, 0] for name in ("directions", "derivatives")}
        dataset = dataset_of(content, directions=("run", "input"), derivatives=("run", "output"))
        with pytest.raises(ValueError, match="directions with dimensions .samples, directions and components., got"):
            read_samples(dataset)
