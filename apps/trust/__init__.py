"""What is done to a trained model so that its answers can be trusted: calibration samples, fallback to the PDE."""
