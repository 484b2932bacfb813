"""One training run: data prepared, steps taken, validation watched, progress kept."""
