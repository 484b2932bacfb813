"""Steps that lower an objective."""
