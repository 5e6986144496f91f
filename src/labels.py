"""Label maps: a class index or void for each pixel."""

import numpy as np
from jaxtyping import UInt8

VOID = 255  # marks pixels that count neither in the loss nor in the evaluation
MAX_CLASSES = 255  # with indices 0..254: a label is a byte, and 255 is void

LabelMap = UInt8[np.ndarray, "height width"]
