"""Variable projection on the smallest problem that can be drawn."""
