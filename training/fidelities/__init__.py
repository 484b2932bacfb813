"""Several fidelities: features from coarse solves, the last layer from fine ones."""
