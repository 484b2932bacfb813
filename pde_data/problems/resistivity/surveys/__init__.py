"""Electrodes and what is measured between them: surveys, arrays, and files of them."""
