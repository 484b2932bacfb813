"""The script in docs/: what it says of the problem it samples is true."""

import ast

import numpy as np

from gnvpro.pde_data.problems.loading import registered_problem
from tests import PROJECT

SCRIPT = PROJECT / "docs" / "sample_with_umbridge.py"


def test_its_truth_is_possible_in_the_problem():
    constants = {}
    for node in ast.parse(SCRIPT.read_text()).body:
        if isinstance(node, ast.Assign):
            exec(ast.unparse(node), {"np": np}, constants)
    space = registered_problem("dcr").parameters
    assert list(space.names) == ["depth", "volume", "azimuth"]
    assert space.contains(constants["TRUTH"][None]).all()
