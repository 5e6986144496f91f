"""Score a trained network on a data set, with and without CRF."""
