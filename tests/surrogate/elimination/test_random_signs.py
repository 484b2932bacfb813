"""Random signs that depend on seed, row and column alone."""

import torch

from gnvpro.surrogate.elimination.losses import random_signs

LIKE = torch.zeros(4000, 70, dtype=torch.float64)


def test_signs_are_even_and_look_independent():
    signs = random_signs(LIKE, 3)
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    n = len(LIKE)
    # Sums of n independent signs: within five deviations, of some thousand of them.
    assert float(signs.mean(0).abs().max()) < 5 / n**0.5
    assert float((signs.t() @ signs / n - torch.eye(70, dtype=torch.float64)).abs().max()) < 5 / n**0.5
    assert float((signs[1:] * signs[:-1]).mean(0).abs().max()) < 5 / n**0.5
    assert float((signs * random_signs(LIKE, 4)).mean(0).abs().max()) < 5 / n**0.5


def test_a_sample_has_the_same_signs_wherever_it_is():
    whole = random_signs(LIKE, 5)
    assert torch.equal(random_signs(LIKE[1234:], 5, first=1234), whole[1234:])
    assert torch.equal(random_signs(LIKE.float(), 5).double(), whole)
