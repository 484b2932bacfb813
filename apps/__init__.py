"""What a user runs: the command line, comparison with the PDE, reports."""
