"""DeepLab V1 (arXiv 1412.7062) by configuration: atrous VGG-16, LargeFOV, fully connected CRF."""

__version__ = "0.1.0"
