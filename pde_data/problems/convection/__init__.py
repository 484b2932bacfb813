"""Convection-diffusion-reaction in the plane: 55 parameters, 72 observables."""
