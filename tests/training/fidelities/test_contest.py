"""Corrections of a coarse model by fine samples."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Space
from gnvpro.training.train import Progress, TrainSettings, train
from tests.training.problems import smooth_samples

COARSE = smooth_samples(80, n_in=3, n_out=4)
FRESH = smooth_samples(300, n_in=3, n_out=4, seed=9)
MIXING = np.array([[1.2, 0.1, 0, 0], [0, 0.9, 0, 0.2], [0, 0, 1.1, 0], [0.1, 0, 0, 1.0]])
KERNELS = TrainSettings(contender="kernel")


def fine(n, seed=5):
    """A linear map of the coarse observables, at points of its own."""
    samples = smooth_samples(n, n_in=3, n_out=4, seed=seed)
    return replace(samples, observables=samples.observables @ MIXING)


def error(model, samples):
    misfit = model.evaluate(samples.parameters) - samples.observables
    return float((np.linalg.norm(misfit, axis=1) / np.linalg.norm(samples.observables, axis=1)).mean())


@cache
def coarse_error():
    return error(train(COARSE, KERNELS).surrogate, FRESH)


@cache
def corrected():
    """Kernels of the coarse samples, corrected by eight fine ones."""
    return train(fine(8), KERNELS, coarse=COARSE).surrogate


def test_a_linear_map_of_the_coarse_observables_is_found_from_few_samples():
    assert error(corrected(), fine(300, seed=9)) < 8 * coarse_error()
    assert error(train(fine(8), KERNELS).surrogate, fine(300, seed=9)) > 100 * coarse_error()


def test_the_record_says_what_the_model_was_made_of():
    record = corrected().training
    levels = record["fidelities"]["levels"]
    assert [level["samples"] for level in levels] == [80, 8]
    assert levels[0]["off"] > 0.01
    assert levels[1]["off"] is None
    assert levels[1]["error"] < levels[0]["off"]
    assert record["fidelities"]["fine_equivalents"] is None
    assert record["choice"]["contenders"][0]["name"].startswith("coarse model")
    assert record["samples"]["train"] == 8


def test_costs_are_counted_in_fine_solves():
    coarse, expensive = (
        replace(samples, provenance={"cost": {"seconds": cost}}) for samples, cost in ((COARSE, 0.1), (fine(8), 2.0))
    )
    trained = train(expensive, KERNELS, coarse=coarse)
    assert trained.surrogate.training["fidelities"]["fine_equivalents"] == pytest.approx(8 + 80 / 20)
    rows = dict(trained.surrogate.rows())
    assert rows["80 coarse samples"].startswith("each 1/20 of the cost of a fine one")
    assert rows["8 fine samples"] == "all samples together cost 12 fine ones"


def test_coarse_samples_that_are_nonsense_are_left_aside():
    rng = np.random.default_rng(0)
    nonsense = replace(COARSE, observables=rng.standard_normal(COARSE.observables.shape))
    with_them, alone = train(fine(30), KERNELS, coarse=nonsense), train(fine(30), KERNELS)
    choice = with_them.surrogate.training["choice"]
    assert choice["reason"].startswith("coarse samples do not help: ")
    assert choice["kind"] == "fine samples alone"
    assert with_them.surrogate.training["bounds"] == alone.surrogate.training["bounds"]
    assert error(with_them.surrogate, fine(300, seed=9)) == pytest.approx(
        error(alone.surrogate, fine(300, seed=9)), rel=0.2
    )


def test_a_coarse_model_that_is_right_stays_as_it_is():
    trained = train(smooth_samples(6, n_in=3, n_out=4, seed=5), KERNELS, coarse=COARSE)
    assert error(trained.surrogate, FRESH) < 1.5 * coarse_error()


def test_three_levels_are_a_chain():
    middle = smooth_samples(20, n_in=3, n_out=4, seed=6)
    middle = replace(middle, observables=1.1 * middle.observables)
    trained = train(fine(8), KERNELS, coarse=[COARSE, middle])
    levels = trained.surrogate.training["fidelities"]["levels"]
    assert [level["samples"] for level in levels] == [80, 20, 8]
    assert error(trained.surrogate, fine(300, seed=9)) < 8 * coarse_error()


def test_columns_are_found_by_their_names():
    order = [2, 0, 1]
    shuffled = replace(
        COARSE,
        parameters=COARSE.parameters[:, order],
        parameter_space=Space.vector([f"y{j}" for j in order], lower=(-1.0,) * 3, upper=(1.0,) * 3, law="uniform"),
    )
    one, other = corrected(), train(fine(8), KERNELS, coarse=shuffled).surrogate
    assert np.array_equal(one.weights, other.weights)
    assert one.parameters == other.parameters


@pytest.mark.parametrize("settings", [KERNELS, TrainSettings(budget=60.0), TrainSettings(contender="polynomial")])
def test_the_same_seed_gives_the_same_bits_and_a_saved_model_is_the_same(settings, tmp_path):
    one, other = (train(fine(25), settings, coarse=COARSE) for _ in range(2))
    assert np.array_equal(one.surrogate.weights, other.surrogate.weights)
    one.save(tmp_path / "model")
    loaded = Surrogate.load(tmp_path / "model")
    assert np.array_equal(loaded.evaluate(FRESH.parameters), one.surrogate.evaluate(FRESH.parameters))
    assert loaded.training["fidelities"] == one.surrogate.training["fidelities"]
    assert loaded.trust is not None


def test_errors_at_points_that_both_share_are_no_better_than_elsewhere():
    """The coarse model knows its own samples: what is said of fine ones there has to be of models that do not."""
    shared = replace(COARSE, observables=COARSE.observables @ MIXING).subset(np.arange(40))
    trained = train(shared, KERNELS, coarse=COARSE).surrogate
    assert trained.errors["cross-validated"] > 0.3 * error(trained, fine(300, seed=9))


def test_a_background_is_that_of_the_fine_samples():
    background, fine_background = np.arange(4.0), np.arange(4.0) + 0.5
    coarse = replace(COARSE, observables=COARSE.observables + background, background=background)
    samples = replace(fine(10), observables=fine(10).observables + fine_background, background=fine_background)
    surrogate = train(samples, KERNELS, coarse=coarse).surrogate
    fresh = fine(300, seed=9)
    fresh = replace(fresh, observables=fresh.observables + fine_background)
    assert error(surrogate, fresh) < 8 * coarse_error()
    assert "cross-validated" in surrogate.errors_anomalous


def test_validation_samples_judge_where_there_are_any():
    trained = train(fine(40), KERNELS, coarse=COARSE, train=20, validation=10, test=10)
    assert set(trained.errors) == {"train", "validation", "test"}


def test_networks_that_are_asked_for_learn_the_features():
    trained = train(fine(12), coarse=COARSE, widths=(6, 8), budget=100.0)
    assert trained.surrogate.network.to_dict()["kind"] in ("dense", "concatenated")


def test_one_observable_of_many_samples():
    def one(samples):
        return Samples(samples.parameters, samples.observables[:, :1], samples.parameter_space, Space.vector(["c"]))

    trained = train(one(fine(30)), KERNELS, coarse=one(COARSE))
    assert error(trained.surrogate, one(fine(300, seed=9))) < 0.05


def test_progress_names_the_level():
    stages = list[Progress]()
    train(fine(8), TrainSettings(budget=30.0), stages.append, coarse=COARSE)
    assert {stage.stage.split(":")[0] for stage in stages} == {"level-1", "fine"}


def test_a_checkpoint_has_a_folder_for_every_level(tmp_path):
    settings = TrainSettings(contender="network", budget=60.0)
    one = train(fine(8), settings, coarse=COARSE, checkpoint=tmp_path / "kept", every=20.0)
    assert (tmp_path / "kept" / "level-1" / "checkpoint.json").is_file()
    again = train(fine(8), settings, coarse=COARSE, checkpoint=tmp_path / "kept", every=20.0)
    assert np.array_equal(one.surrogate.weights, again.surrogate.weights)


def with_derivatives(samples, mixing):
    """Along three random directions; the last of the first sample is not known."""
    inner = np.random.default_rng(99).standard_normal((3, 4))  # as in `smooth_samples`
    directions = np.random.default_rng(2).standard_normal((len(samples), 3, 3))
    at = samples.parameters @ inner
    derivatives = (directions @ inner) * (np.cos(at) + 0.2 * at)[:, None] @ mixing
    directions[0, 2], derivatives[0, 2] = 0, 0
    return replace(samples, directions=directions, derivatives=derivatives)


def test_derivatives_of_fine_samples_count():
    errors = [
        error(train(samples, KERNELS, coarse=COARSE).surrogate, fine(300, seed=9))
        for samples in (with_derivatives(fine(4), MIXING), fine(4))
    ]
    assert errors[0] < 0.3 * errors[1]


def test_kernels_with_derivatives_are_corrected_in_their_own_norm():
    coarse = with_derivatives(smooth_samples(30, n_in=3, n_out=4), np.eye(4))
    trained = train(fine(8), KERNELS, coarse=coarse)
    assert {"kernels"} & {
        block for one in trained.surrogate.training["choice"]["contenders"] for block in one.get("blocks", [])
    }
    alone = train(coarse.without_derivatives, KERNELS).surrogate
    assert error(trained.surrogate, fine(300, seed=9)) < error(alone, FRESH)


def test_the_length_of_a_direction_means_nothing():
    samples = with_derivatives(fine(6), MIXING)
    assert samples.directions is not None
    assert samples.derivatives is not None
    longer = replace(samples, directions=100 * samples.directions, derivatives=100 * samples.derivatives)
    one, other = (train(of, KERNELS, coarse=COARSE).surrogate.evaluate(FRESH.parameters) for of in (samples, longer))
    np.testing.assert_allclose(one, other, rtol=1e-4)


def without_last(samples, what):
    name = f"{what}_space"
    space = Space.vector(getattr(samples, name).names[:-1], axis=what)
    return replace(samples, **{f"{what}s": getattr(samples, f"{what}s")[:, :-1], name: space})


@pytest.mark.parametrize(
    ("coarse", "message"),
    [
        (without_last(COARSE, "parameter"), "expected 3 parameters in the coarse samples, got 2"),
        (without_last(COARSE, "observable"), "expected 4 observables in the coarse samples, got 3"),
        (replace(COARSE, observable_space=Space.vector(["a", "b", "c", "d"], axis="observable")), "got a, b, c, d"),
        (
            replace(
                COARSE, observable_space=Space.vector(COARSE.observable_space.names, axis="observable", units=("mV",))
            ),
            "expected c0 in 1, got mV in the coarse samples",
        ),
        ([COARSE, without_last(COARSE, "observable")], "expected 4 observables in the level 2 samples, got 3"),
        ("coarse.zarr", "expected coarse samples, got 'c'"),
    ],
)
def test_samples_that_do_not_agree_are_refused(coarse, message):
    with pytest.raises(UsageError, match=message):
        train(fine(8), coarse=coarse)


def test_two_fine_samples_are_too_few():
    with pytest.raises(UsageError, match="expected at least 3 fine samples, got 2; solve some more"):
        train(fine(2), KERNELS, coarse=COARSE)


def test_a_module_and_coarse_samples_are_refused():
    import torch

    with pytest.raises(UsageError, match="leave one of both out"):
        train(fine(8), coarse=COARSE, module=torch.nn.Linear(3, 4))
