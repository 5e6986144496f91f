"""Label maps, which give each pixel a class index or void. The network scores every eighth pixel in each direction."""

import numpy as np
from jaxtyping import UInt8

VOID = 255  # marks pixels that count neither in the loss nor in the evaluation
MAX_CLASSES = 255  # with indices 0..254: a label is a byte, and 255 is void
STRIDE = 8  # pixels from one score to the next

LabelMap = UInt8[np.ndarray, "height width"]
