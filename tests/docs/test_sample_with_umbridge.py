"""The script in docs/: what it says of the problem it samples is true."""

import ast

import numpy as np

from gnvpro.pde_data.problems.loading import registered_problem
from tests import PROJECT

SCRIPT = PROJECT / "docs" / "sample_with_umbridge.py"


def test_its_parameters_are_those_of_the_problem():
    constants = {}
    for node in ast.parse(SCRIPT.read_text()).body:
        if isinstance(node, ast.Assign):
            exec(ast.unparse(node), {"np": np}, constants)
    space = registered_problem("dcr").parameters
    assert space.names == constants["NAMES"]
    np.testing.assert_allclose(constants["LOWER"], space.lower, rtol=2e-3)
    np.testing.assert_allclose(constants["UPPER"], space.upper, rtol=2e-3)
    assert space.contains(np.stack([constants["LOWER"], constants["UPPER"], constants["TRUTH"]])).all()
