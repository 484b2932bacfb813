"""What sensors measure of a finite-element function: values at points, averages, fluxes, at several times."""
