"""The loop from a problem and an error to a model whose error is confirmed."""
