"""Stationary diffusion whose conductivity grows with the solution, solved by Newton's method."""
