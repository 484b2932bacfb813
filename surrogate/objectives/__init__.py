"""What a solver minimises: value, gradient and curvature, the last layer eliminated or not."""
