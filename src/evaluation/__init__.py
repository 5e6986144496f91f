"""Evaluation: compute the metrics of a trained network on a data set, with and without CRF."""
