"""From PDE solves to trusted surrogates: data, training, the surrogate, and what is done with it."""
