"""What comes out of a model under the law of its parameters, corrected by a few PDE solves."""
