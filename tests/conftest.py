"""Shared by all tests."""

import sys

import pytest

# Fixtures that start processes: all tests of one go to the same worker of `make test`.
STARTED_ONCE = {"server": "server", "with_pde": "server", "scheduler": "scheduler", "browser": "browser"}


def pytest_collection_modifyitems(items):
    for item in items:
        for fixture in STARTED_ONCE.keys() & set(item.fixturenames):
            item.add_marker(pytest.mark.xdist_group(STARTED_ONCE[fixture]))


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
