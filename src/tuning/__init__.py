"""Search the CRF's parameters for a trained network."""
