"""Filtering on the permutohedral lattice, in torch."""
