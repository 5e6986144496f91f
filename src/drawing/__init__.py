"""Plots, pictures of predictions, and tables for the terminal."""
