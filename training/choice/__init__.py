"""Which model: the race of networks, polynomials, ensembles, coarse to fine."""
