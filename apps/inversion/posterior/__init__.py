"""Prior, noise and observations; the posterior by surrogate and PDE; the PDE solves it takes."""
