"""Posteriors by surrogate and PDE: accuracy, coverage, cost."""
