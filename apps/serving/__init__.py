"""Surrogates behind a server."""
