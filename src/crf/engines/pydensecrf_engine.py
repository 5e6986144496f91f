"""The engine that calls pydensecrf, the public reference implementation, for comparison; the package is optional."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from src.crf.engines.engine import EngineName, WorkerKind
from src.crf.inputs import upsample_to
from src.crf.lattice.features import bilateral_features
from src.crf.parameters import Parameters


class PydensecrfEngine:
    """Runs pydensecrf on the CPU.

    Raises:
        ImportError: if pydensecrf is not installed.
    """

    name: EngineName = "pydensecrf"
    workers: WorkerKind = "processes"

    def __init__(self) -> None:
        import_pydensecrf()

    def refine(self, image: Tensor, logits: Tensor, parameters: Parameters, threads: int) -> Tensor:
        """Return Q of one image.

        Raises:
            ValueError: if there are fewer than 2 or more than 255 classes.
        """
        p = parameters
        classes, height, width = logits.shape
        if classes > 255 or classes < 2:
            raise ValueError(f"engine=pydensecrf takes 2 to 255 classes, not {classes}: choose another engine")
        crf = import_pydensecrf().DenseCRF2D(width, height, classes)
        unary = -logits.detach().reshape(classes, -1).log_softmax(0).float().cpu()
        crf.setUnaryEnergy(unary.contiguous().numpy())
        costs = 1.0 if p.compatibility is None else np.array(p.compatibility, np.float32)
        if p.w2 > 0:
            crf.addPairwiseGaussian(sxy=(p.sg, p.sg), compat=p.w2 * costs)
        if p.w1 > 0:  # addPairwiseBilateral takes uint8 images only; for these, it computes the same features
            features = bilateral_features(image.cpu(), p.sy, p.sx, p.srgb).T.contiguous()
            crf.addPairwiseEnergy(features.numpy(), compat=p.w1 * costs)
        q = torch.from_numpy(np.array(crf.inference(p.iterations)))
        return q.reshape(logits.shape).to(logits)

    def refine_labels(
        self, image: Tensor, score_map: Tensor, stride: int, parameters: Parameters, threads: int
    ) -> Tensor:
        """Return the label map of one image: the argmax of Q from the up-sampled score map."""
        return self.refine(image, upsample_to(image, score_map, stride), parameters, threads).argmax(0)


def import_pydensecrf() -> Any:
    """Return the module of pydensecrf, or raise an ImportError that says how to install it."""
    try:
        import pydensecrf.densecrf
    except ImportError as error:
        raise ImportError(
            'engine=pydensecrf needs a package that is not installed: pip install "deeplab-v1[pydensecrf]" '
            "(Python 3.12 or older), or choose engine=native or engine=torch"
        ) from error
    return pydensecrf.densecrf
