"""Surrogates from few solves: with derivatives along directions, and with solves of a coarser version beside them."""
