"""Shared by all tests."""

import sys

import pytest


@pytest.fixture(autouse=True)
def drawn_alike():
    """Modules of torch draw their weights from its global generator: alike in every run, whatever ran before."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def fenicsx():
    """Skips, visibly, a test that needs FEniCSx where it is missing."""
    from gnvpro.pde_data.problems import fenicsx as _fenicsx

    try:
        return _fenicsx.fenicsx()
    except _fenicsx.MissingFEniCSx as missing:
        pytest.skip(str(missing))
