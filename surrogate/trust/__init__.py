"""How far a prediction can be trusted: error bands and the in-domain score."""
