"""Score maps of a network on disk, so that it looks at every image once."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from src.data import SegmentationDataset
from src.prediction.outputs import checksum, save
from src.prediction.predictor import Predictor
from src.tuning.search import ScoredImage

log = logging.getLogger(__name__)


class ScoreCache:
    """Score maps in float16, a file for each image (slim network, 480x360 pixels: 60 kB), by checkpoint and pixels.

    Nothing that changes the scores can be mixed up: the folder is named by a digest of the checkpoint's bytes and of
    settings, the files by one of the image.

    Args:
        root: of all caches.
        ckpt: that the scores are of.
        settings: all else that they depend on.
        predictor: builds the network; called only where a score map is missing.
    """

    def __init__(self, root: Path, ckpt: Path, settings: Any, predictor: Callable[[], Predictor]) -> None:
        self.folder = root / hashlib.sha256(f"{checksum(ckpt)}{settings}".encode()).hexdigest()[:16]
        self.predictor = predictor

    def load(self, dataset: SegmentationDataset, indices: Sequence[int]) -> list[ScoredImage]:
        """Images, labels and scores, all in memory: 4 bytes a pixel."""
        console = Console()
        scored, missing = [], 0
        predictor: Predictor | None = None
        for index in track(indices, "score maps", console=console, transient=True, disable=not console.is_terminal):
            image, label, _ = dataset[index]
            path = self.folder / f"{digest(image)}.npy"
            scores = read(path)
            if scores is None:
                predictor = predictor or self.predictor()
                scores = half(predictor.scores(image).float().cpu().numpy())
                save(path, partial(np.save, arr=scores))
                missing += 1
            parts = (np.ascontiguousarray(image.transpose(2, 0, 1)), np.array(label), scores)
            scored.append(ScoredImage(*map(torch.from_numpy, parts)))
        log.info("score maps: %d computed, %d from %s/", missing, len(indices) - missing, self.folder)
        return scored


def read(path: Path) -> np.ndarray | None:
    """None where there is none, or a damaged one."""
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        return None
    except (ValueError, EOFError, OSError) as error:
        log.warning("%s: %s; computed again", path, error)
        return None


def half(scores: np.ndarray) -> np.ndarray:
    """As float16, whose range (65,504) no sensible score leaves."""
    limit = np.finfo(np.float16).max
    return scores.clip(-limit, limit).astype(np.float16)


def digest(image: np.ndarray) -> str:
    """Of its size and pixels."""
    return hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).hexdigest()[:16]
