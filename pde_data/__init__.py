"""Training data from PDE solves: problems, sampling designs, resumable generation, data sets."""
