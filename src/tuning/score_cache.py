"""Keep a network's score maps on disk, so that each image is computed once."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from src.data import SegmentationDataset
from src.prediction.predictor import Predictor
from src.prediction.results.files import save
from src.prediction.results.folder import checksum
from src.system.progress import tracked
from src.tuning.search import ScoredImage

log = logging.getLogger(__name__)


class ScoreCache:
    """Score maps in float16, one file per image (slim network, 480x360 pixels: 60 kB).

    Caches of different networks or settings cannot be mixed up: the folder's name is a digest of the checkpoint and the
    settings, and a file's name is a digest of the image.

    Args:
        root: folder of all caches.
        ckpt: checkpoint of the network.
        settings: all other settings that the scores depend on.
        predictor: builds the network; called only if a score map is missing.
    """

    def __init__(self, root: Path, ckpt: Path, settings: Any, predictor: Callable[[], Predictor]) -> None:
        self.folder = root / hashlib.sha256(f"{checksum(ckpt)}{settings}".encode()).hexdigest()[:16]
        self.predictor = predictor

    def load(self, dataset: SegmentationDataset, indices: Sequence[int]) -> list[ScoredImage]:
        """Return images, labels and scores of a data set; all of them are in memory, 4 bytes per pixel."""
        scored, missing = [], 0
        predictor: Predictor | None = None
        for index in tracked(indices, "score maps"):
            image, label, _ = dataset[index]
            path = self.folder / f"{digest_image(image)}.npy"
            scores = read_scores(path)
            if scores is None:
                predictor = predictor or self.predictor()
                scores = to_half(predictor.scores(image).float().cpu().numpy())
                save(path, partial(np.save, arr=scores))
                missing += 1
            parts = (np.ascontiguousarray(image.transpose(2, 0, 1)), np.array(label), scores)
            scored.append(ScoredImage(*map(torch.from_numpy, parts)))
        log.info("score maps: %d computed, %d from %s/", missing, len(indices) - missing, self.folder)
        return scored


def read_scores(path: Path) -> np.ndarray | None:
    """Return the scores in a file; None if it is missing or damaged."""
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        return None
    except (ValueError, EOFError, OSError) as error:
        log.warning("%s: %s; computed again", path, error)
        return None


def to_half(scores: np.ndarray) -> np.ndarray:
    """Return scores as float16, clipped to its range of +-65,504, which no sensible score exceeds."""
    limit = np.finfo(np.float16).max
    return scores.clip(-limit, limit).astype(np.float16)


def digest_image(image: np.ndarray) -> str:
    """Return a digest of an image's size and pixels."""
    return hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).hexdigest()[:16]
