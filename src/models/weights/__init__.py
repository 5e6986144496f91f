"""Load weights from files: torchvision's, Caffe's, Keras's and this project's checkpoints."""
