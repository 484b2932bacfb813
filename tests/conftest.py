"""Shared by all tests."""

import pytest


@pytest.fixture(scope="session")
def fenicsx():
    """Skips, visibly, a test that needs FEniCSx where it is missing."""
    from gnvpro.pde_data.problems import fenicsx as _fenicsx

    try:
        return _fenicsx.fenicsx()
    except _fenicsx.MissingFEniCSx as missing:
        pytest.skip(str(missing))
