"""Pages and figures: style, runs of training, images of observables."""
