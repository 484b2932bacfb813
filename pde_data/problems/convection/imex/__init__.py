"""The fast solver of convection: many samples at once, implicit-explicit in time."""
