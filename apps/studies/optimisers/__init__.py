"""Methods of training side by side, tuned alike."""
