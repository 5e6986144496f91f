"""Train a network, go on with a run that stopped, rebuild a network from its checkpoint."""
