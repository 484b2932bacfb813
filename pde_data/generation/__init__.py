"""From parameters to a finished data set: blocks, engines, resuming."""
