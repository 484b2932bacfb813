"""Direct-current resistivity of a body in the ground: 3 parameters, 882 observables."""
