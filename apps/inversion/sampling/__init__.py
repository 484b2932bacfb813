"""Chains: NUTS, random walk, delayed acceptance."""
