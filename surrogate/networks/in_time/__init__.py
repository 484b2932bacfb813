"""Networks that are the steps of a differential equation."""
