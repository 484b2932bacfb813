"""Gaussian random fields by their Karhunen–Loève modes."""
