"""Training: fit a network, resume a stopped run, rebuild a network from its checkpoint."""
