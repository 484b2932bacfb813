"""The production route of convection: many samples at once, implicit-explicit in time."""
