"""Refine a network's scores with a fully connected CRF (Krähenbühl & Koltun, NIPS 2011).

from src.crf import DenseCRF
crf = DenseCRF(w1=5, sxy=50, srgb=10)
labels = crf(image, logits=logits).argmax(0)
"""

from src.crf.dense_crf import DenseCRF
from src.crf.module import DenseCRFModule
from src.crf.parameters import Parameters
from src.crf.pool import RefinementPool

__all__ = ["DenseCRF", "DenseCRFModule", "Parameters", "RefinementPool"]
