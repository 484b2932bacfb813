"""A surrogate against fresh PDE solves: errors, derivatives, costs, sweeps, the rival that needs no training."""
