"""Study `sensitivity`: indices from few solves against exact ones."""
