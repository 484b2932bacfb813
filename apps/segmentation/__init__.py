"""Classes for the pixels of an image cube."""
