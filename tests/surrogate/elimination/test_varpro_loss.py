"""The drop-in against the solvers' own gradient, autodiff through the normal equations, and torch's optimisers."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from gnvpro.surrogate.elimination.labels import one_hot
from gnvpro.surrogate.elimination.varpro_loss import VarPro, varpro_loss
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.objectives.reduced import reduced_cross_entropy, reduced_least_squares
from tests.calculus import assert_taylor

N, WIDTH, M = 40, 5, 3


def data(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(N, 4, generator=generator, dtype=torch.float64) * 2 - 1
    mixing = torch.randn(4, M, generator=generator, dtype=torch.float64)
    outputs = torch.sin(inputs @ mixing) + 1
    weights = 0.5 + torch.rand(N, generator=generator, dtype=torch.float64)
    return inputs.to(dtype), outputs, outputs.argmax(1), weights


def targets_of(classes):
    _, outputs, labels, _ = data()
    return (labels, dict(alpha_w=1e-3, n_classes=M)) if classes else (outputs, dict(alpha_w=1e-6))


def module(dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, WIDTH), nn.Tanh()).to(dtype)


@pytest.fixture(params=[False, True], ids=["squares", "classes"])
def classes(request):
    return request.param


@pytest.fixture(params=["cpu", "cuda"])
def device(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return request.param


def test_gradient_is_that_of_the_solvers(classes, device):
    inputs, outputs, labels, omega = (part.to(device) for part in data())
    network = DenseNetwork(4, (6, WIDTH))
    theta = network.initial(0).to(device).requires_grad_()
    targets, options = targets_of(classes)
    loss = varpro_loss(network.bind(theta)(inputs), targets.to(device), row_weights=omega, **options)
    loss.backward()
    if classes:
        objective = reduced_cross_entropy(
            network, inputs, one_hot(labels, M), row_weights=omega, alpha_w=1e-3, alpha_theta=0.0
        )
    else:
        objective = reduced_least_squares(network, inputs, outputs, row_weights=omega, alpha_w=1e-6, alpha_theta=0.0)
    point = objective.at(theta.detach())
    assert loss.item() == pytest.approx(point.value, rel=1e-12)
    assert float((theta.grad - point.gradient).norm()) <= 1e-12 * float(point.gradient.norm())


def test_gradient_is_that_of_autodiff_through_the_normal_equations():
    inputs, outputs, _, omega = data()
    features = module()(inputs).detach().requires_grad_()
    loss = varpro_loss(features, outputs, alpha_w=1e-3, row_weights=omega)
    (ours,) = torch.autograd.grad(loss, features)
    columns = torch.cat([features, torch.ones(N, 1, dtype=torch.float64)], 1)
    scaled = columns * (omega**2).unsqueeze(1) / N
    solved = torch.linalg.solve(columns.t() @ scaled + 1e-3 * torch.eye(WIDTH + 1), scaled.t() @ outputs)
    misfit = (omega.unsqueeze(1) * (columns @ solved - outputs)) ** 2
    expected = misfit.sum() / (2 * N) + 0.5e-3 * (solved**2).sum()
    (theirs,) = torch.autograd.grad(expected, features)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    assert float((ours - theirs).norm()) <= 1e-12 * float(theirs.norm())


def test_taylor(classes):
    inputs, _, _, omega = data()
    targets, options = targets_of(classes)
    features = module()(inputs).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(varpro_loss(features, targets, row_weights=omega, **options), features)
    direction = 0.3 * np.random.default_rng(1).standard_normal(features.shape)

    def value(z):
        return varpro_loss(torch.as_tensor(z), targets, row_weights=omega, **options).item()

    right = (gradient.numpy() * direction).sum()
    assert_taylor(value, right, features.detach().numpy(), direction)
    with pytest.raises(AssertionError):
        assert_taylor(value, 1.001 * right, features.detach().numpy(), direction)


def test_differentiating_twice_is_refused(classes):
    targets, options = targets_of(classes)
    features = module()(data()[0]).detach().requires_grad_()
    loss = varpro_loss(features, targets, **options)
    with pytest.raises(RuntimeError, match="differentiated once"):
        torch.autograd.grad(loss, features, create_graph=True)


def test_types_are_those_of_the_features(classes):
    targets, options = targets_of(classes)
    exact = module()(data()[0]).detach()
    for dtype, digits in ((torch.float32, 1e-5), (torch.bfloat16, 1e-1)):
        features = exact.to(dtype).requires_grad_()
        loss = varpro_loss(features, targets, **options)
        loss.backward()
        assert loss.dtype == torch.float64
        assert features.grad.dtype == dtype
        assert loss.item() == pytest.approx(float(varpro_loss(exact, targets, **options)), rel=digits)


def test_probabilities_are_labels():
    _, _, labels, _ = data()
    features = module()(data()[0]).detach()
    by_label = varpro_loss(features, labels, alpha_w=1e-3, n_classes=M)
    by_row = varpro_loss(features, one_hot(labels, M).float(), alpha_w=1e-3, n_classes=M)
    torch.testing.assert_close(by_label, by_row, rtol=1e-14, atol=0)


OPTIMISERS = {
    "adam": lambda p: torch.optim.Adam(p, lr=1e-2),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.3, momentum=0.9),
    "lbfgs": lambda p: torch.optim.LBFGS(p, max_iter=5, line_search_fn="strong_wolfe"),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_reduces_the_loss(name, classes):
    targets, _ = targets_of(classes)
    inputs, network = data(torch.float32)[0], module(torch.float32)
    varpro = VarPro(WIDTH, M, alpha_w=1e-3, classes=classes)
    optimiser = OPTIMISERS[name](network.parameters())

    def closure():
        optimiser.zero_grad()
        loss = varpro(network(inputs), targets)
        loss.backward()
        return loss

    first = float(closure())
    for _ in range(30):
        optimiser.step(closure)
    assert float(closure()) < 0.8 * first


def test_batches_of_a_loader_then_one_refit(classes):
    inputs, outputs, labels, _ = data()
    targets, network = labels if classes else outputs, module()
    varpro = VarPro(WIDTH, M, alpha_w=1e-3, classes=classes, average=0.5)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(inputs, targets), 20, shuffle=True, generator=torch.Generator().manual_seed(0)
    )
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    with torch.no_grad():
        before = varpro.refit(network(inputs), targets)
    for _ in range(20):
        for x, c in loader:
            optimiser.zero_grad()
            varpro(network(x), c).backward()
            optimiser.step()
    features = network(inputs).detach()
    at_average = varpro.eval()(features, targets)
    after = varpro.refit(features, targets)
    assert float(after) < float(at_average)
    assert float(after) < 0.8 * float(before)
    # Evaluation is at the kept W, which is now the best one.
    torch.testing.assert_close(varpro(features, targets), after, rtol=1e-12, atol=0)


def test_kept_weights_predict_and_are_saved(classes):
    inputs = data()[0]
    targets, _ = targets_of(classes)
    features, varpro = module()(inputs).detach(), VarPro(WIDTH, M, alpha_w=1e-3, classes=classes)
    varpro(features, targets)
    outputs = varpro.predict(features)
    assert outputs.shape == (N, M)
    right = (outputs.argmax(1) == targets).double().mean() if classes else 1 - (outputs - targets).var() / targets.var()
    assert right > 0.7
    other = VarPro(WIDTH, M, alpha_w=1e-3, classes=classes)
    other.load_state_dict(varpro.state_dict())
    assert torch.equal(other.predict(features), outputs)
    assert varpro.predict(features.float()).dtype == torch.float32
    assert "alpha_w=0.001" in repr(varpro)


def test_average_of_two_batches_by_hand():
    inputs, outputs, *_ = data()
    features, varpro = module()(inputs).detach(), VarPro(WIDTH, M, alpha_w=1e-3, average=0.75)
    varpro(features[:20], outputs[:20])
    first = varpro.weights
    varpro(features[20:], outputs[20:])
    last = VarPro(WIDTH, M, alpha_w=1e-3)
    last(features[20:], outputs[20:])
    torch.testing.assert_close(varpro.weights, 0.75 * first + 0.25 * last.weights)


def test_validation_neither_fits_nor_changes_the_last_layer(classes):
    targets, _ = targets_of(classes)
    features, varpro = module()(data()[0]).detach().requires_grad_(), VarPro(WIDTH, M, alpha_w=1e-3, classes=classes)
    varpro(features[:20], targets[:20])
    kept = varpro.weights.clone()
    held_out = varpro.eval()(features[20:], targets[20:])
    assert torch.equal(varpro.weights, kept)
    assert float(held_out) > float(varpro.train()(features[20:], targets[20:]))


def test_small_batches_warn_once(classes):
    targets, options = targets_of(classes)
    features, varpro = module()(data()[0]).detach(), VarPro(WIDTH, M, alpha_w=1e-3, classes=classes)
    with pytest.warns(UserWarning, match="fewer than its 5 features") as caught:
        [varpro(features[:WIDTH], targets[:WIDTH]) for _ in range(2)]
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="larger batches"):
        varpro_loss(features[:WIDTH], targets[:WIDTH], **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        varpro_loss(features[: WIDTH + 1], targets[: WIDTH + 1], **options)


def test_overflow_is_a_loss_that_is_not_a_number_and_costs_nothing(classes):
    targets, _ = targets_of(classes)
    features, varpro = module()(data()[0]).detach(), VarPro(WIDTH, M, alpha_w=1e-3, classes=classes)
    varpro(features, targets)
    kept, broken = varpro.weights, features.clone()
    broken[3, 1] = torch.inf
    broken.requires_grad_()
    loss = varpro(broken, targets)
    loss.backward()
    assert torch.isnan(loss)
    assert torch.isnan(broken.grad).all()
    assert torch.equal(varpro.weights, kept)


def test_where_w_was_not_found_there_is_a_warning():
    features, labels = 1e150 * torch.randn(20, 3, dtype=torch.float64), torch.arange(20) % 2
    with pytest.warns(RuntimeWarning, match="larger alpha_w"):
        varpro_loss(features, labels, alpha_w=1e-30, n_classes=2)


def test_bad_input_is_answered():
    inputs, outputs, labels, omega = data()
    features = module()(inputs).detach()
    numbers, of_classes = dict(alpha_w=1e-3), dict(alpha_w=1e-3, n_classes=M)
    for match, z, c, options in (
        ("disagree on samples: 40 and 39", features, outputs[1:], numbers),
        ("expected real features", features[0], outputs, numbers),
        ("expected real features", features.long(), outputs, numbers),
        ("one sample at least", features[:0], outputs[:0], numbers),
        ("not finite", features, outputs / 0, numbers),
        ("a class label needs n_classes", features, labels, numbers),
        ("one output is a column", features, outputs[:, 0], numbers),
        ("labels 0 to 2, got 1 to 3", features, labels + 1, of_classes),
        ("integer labels", features, labels.double(), of_classes),
        ("sum to one", features, outputs + 1, of_classes),
        ("alpha_w >= 0", features, outputs, dict(alpha_w=-1.0)),
        ("alpha_w > 0", features, labels, dict(alpha_w=0.0, n_classes=M)),
        ("positive row weights", features, outputs, dict(alpha_w=1.0, row_weights=-omega)),
        ("positive row weights", features, outputs, dict(alpha_w=1.0, row_weights=omega[1:])),
    ):
        with pytest.raises(ValueError, match=match):
            varpro_loss(z, c, **options)
    varpro = VarPro(WIDTH, M, alpha_w=1e-3)
    with pytest.raises(RuntimeError, match="no W yet"):
        varpro.predict(features)
    with pytest.raises(RuntimeError, match="no W yet"):
        varpro.eval()(features, outputs)
    with pytest.raises(ValueError, match=r"expected features \(n, 5\)"):
        varpro(features[:, 1:], outputs)
    with pytest.raises(ValueError, match=r"expected targets \(n, 3\)"):
        varpro(features, outputs[:, 1:])
    with pytest.raises(ValueError, match="at least one feature and 2 outputs"):
        VarPro(3, 1, alpha_w=1e-3, classes=True)
    with pytest.raises(ValueError, match="average"):
        VarPro(3, 1, alpha_w=1e-3, average=1.0)
