"""Float32 inside of a training has all of its digits, and what was set before is set after it."""

import torch

from gnvpro.training.device import float32_as_such, torch_threads


def test_tf32_is_off_inside_and_as_before_after_it():
    kinds = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)
    before = [kind.fp32_precision for kind in kinds]
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        for inside in (float32_as_such(), torch_threads(1)):
            with inside:
                assert {kind.fp32_precision for kind in kinds} == {"ieee"}
                assert not torch.backends.cuda.matmul.allow_tf32
            assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    finally:
        torch.backends.cuda.matmul.fp32_precision = before[0]
    assert [kind.fp32_precision for kind in kinds] == before
