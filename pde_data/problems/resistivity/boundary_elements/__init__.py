"""An independent solution of the resistivity problem: it states errors, and makes no data."""
