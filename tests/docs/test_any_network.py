"""The page's programs run as printed and reach what the text says."""

import re

import pytest
import torch

from tests import PROJECT

PAGE = PROJECT / "docs" / "any-network.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(params=range(len(BLOCKS)), ids=["loop", "module", "estimator"])
def names(request):
    names: dict = {}
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)  # a reader's; other tests change it
    try:
        exec(compile(BLOCKS[request.param], str(PAGE), "exec"), names)
    finally:
        torch.set_default_dtype(before)
    return request.param, names


@pytest.mark.long
def test_the_programs_run_and_learn(names, capsys):
    which, names = names
    if which == 0:
        accuracy = (names["logits"].argmax(1) == names["labels"][1200:]).double().mean()
        assert accuracy > 0.9
    elif which == 1:
        # The linear softmax has .134 and .035; rounding moves the loss by .004 and the error by single images.
        assert names["loss"] < 0.08
        assert names["error"] < 0.035
    else:
        assert names["search"].best_score_ > 0.95


def test_the_loss_in_a_loop_is_ten_lines():
    # From the features to the end of the loop: what a reader adds to data and an accuracy.
    loop = BLOCKS[0][BLOCKS[0].index("features = ") : BLOCKS[0].index("with torch.no_grad")]
    assert len(loop.splitlines()) <= 10
