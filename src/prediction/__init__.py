"""Label images with a trained network, and export the network for other programs."""
