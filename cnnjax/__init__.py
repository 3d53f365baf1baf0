"""Convolutional networks for research in JAX."""
