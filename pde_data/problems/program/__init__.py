"""A program as a problem, described by a TOML file: how it is called, given its parameters and read."""
