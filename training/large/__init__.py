"""Training on samples that are spread over processes, or do not fit in memory."""
