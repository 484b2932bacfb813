"""A browser for all checks of this folder."""

import pytest

from tests.accessibility.checker import browser as started


@pytest.fixture(scope="module")
def browser():
    with started() as one:
        yield one
