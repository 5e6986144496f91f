"""What a label map holds: a class index for each pixel, or void."""

import numpy as np
from jaxtyping import UInt8

VOID = 255  # pixels that do not count: neither in the loss nor in the evaluation
MAX_CLASSES = 255  # indices 0..254; a byte has no more beside void

LabelMap = UInt8[np.ndarray, "height width"]
