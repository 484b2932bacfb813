"""The mathematics of a separable surrogate: networks, variable projection, and the saved model."""
