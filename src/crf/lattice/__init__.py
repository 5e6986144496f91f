"""Gaussian filtering on the permutohedral lattice, in torch."""
