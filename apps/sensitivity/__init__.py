"""Which parameters matter: Sobol indices, Shapley effects and directions, with intervals that hold the model's own error."""
