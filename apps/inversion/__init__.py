"""Parameters from observations: maximum a posteriori point, posterior by sampling, and their confirmation by the PDE."""
