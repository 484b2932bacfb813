"""Stationary diffusion whose conductivity grows with the solution."""
