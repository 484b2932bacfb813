"""Features of the parameters: what a network is, and the kinds there are."""
