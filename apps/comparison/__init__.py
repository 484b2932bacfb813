"""A surrogate against fresh PDE solves: errors, derivatives, costs, sweeps, and tensor interpolation beside it."""
