"""Seconds and operations by size."""
