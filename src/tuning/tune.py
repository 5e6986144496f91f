"""Search the dense CRF's parameters for a trained network: python -m src.tune_crf ckpt=CKPT."""

from __future__ import annotations

import logging
import time
from functools import partial
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from src.cli.crf_presets import TUNED, preset_path, preset_text
from src.crf import DenseCRF
from src.data.checks import check_splits
from src.prediction.predictor import Predictor
from src.prediction.trained_network import TrainedNetwork, build_dataset, load_network
from src.system.errors import UserError
from src.system.files import write_text
from src.system.processes import cores
from src.tuning.gradient import Gradient
from src.tuning.journal import Journal, digest_images
from src.tuning.optuna_search import Optuna
from src.tuning.results import Comparison, print_search, write_search
from src.tuning.score_cache import ScoreCache
from src.tuning.search import (
    Confusion,
    ScoredImage,
    Trial,
    Values,
    network_confusion,
    refined_confusion,
    search,
    split_images,
)


def tune(config: DictConfig, presets: Path | None = None) -> Trial:
    """Search, evaluate the result on images that the search has not seen, and write it as a preset.

    Args:
        config: configuration of the command.
        presets: folder for the preset; None for the folder where crf=NAME finds it.

    Returns:
        The best configuration.

    Raises:
        UserError: if the preset cannot be written, or the checkpoint or the data set cannot be used.
    """
    start = time.perf_counter()
    path = None if config.name is None else preset_path(config.name, presets)
    base = initial_crf(config)
    if not 0 <= config.held_back < 1:
        raise UserError(f"held_back={config.held_back}: must be a share, 0 <= held_back < 1")

    searcher = instantiate(config.search)
    network = load_network(config.ckpt)
    if network.model.crf is not None:
        raise UserError(
            f"ckpt={config.ckpt}: was trained through a CRF and already has its parameters; choose another checkpoint"
        )
    instantiate(config.crf)  # checks its arguments, and logs the engine, which later builds need not repeat
    logging.getLogger("src.crf").setLevel(logging.WARNING)
    cache = score_cache(config)
    images = score_images(config, network, cache)
    digests = {part: digest_images(part_images) for part, part_images in images.items()}
    journal, classes = Journal(cache.folder / "counts.jsonl"), len(network.classes)

    def count(values: Values, part: str = "searched") -> tuple[Confusion, float]:
        crf = build_crf({**base, **values})
        key = {"crf": repr(crf), "images": digests[part]}
        return journal.get_or_count(key, lambda: refined_confusion(crf, images[part], classes, config.workers))

    if isinstance(searcher, Gradient):
        searcher = partial(searcher.propose, images["searched"], base)
    if isinstance(searcher, Optuna):
        searcher = partial(searcher, objective=f"{cache.folder.name} {digests['searched']} {build_crf(base)!r}")
    trials = list(search(count, searcher))
    best = max(trials, key=lambda trial: trial.miou)
    comparison: Comparison = {
        part: {
            "network": network_confusion(images[part], classes),
            "crf_before": count({}, part)[0],
            "crf_tuned": count(best.values, part)[0],
        }
        for part in images
        if images[part]
    }
    folder = Path(config.paths.output_dir)
    for file in filter(None, (folder / "crf.yaml", path)):
        write_text(file, preset(config, {**base, **best.values}), shared=True)
    write_search(folder, trials, comparison, {part: len(part_images) for part, part_images in images.items()}, start)
    print_search(folder, trials, comparison, network.classes, path)
    return best


def score_cache(config: DictConfig) -> ScoreCache:
    """Return the cache of the network's score maps; the network is loaded when one is missing."""
    inference = instantiate(config.inference)
    settings = OmegaConf.to_container(config.inference), config.accelerator, config.precision

    def predictor() -> Predictor:
        return Predictor(
            config.ckpt, None, inference=inference, accelerator=config.accelerator, precision=config.precision
        )

    return ScoreCache(Path(config.cache), Path(config.ckpt), settings, predictor)


def score_images(config: DictConfig, network: TrainedNetwork, cache: ScoreCache) -> dict[str, list[ScoredImage]]:
    """Return the images to search on ("searched") and to compare on ("held_back"), with the network's scores."""
    dataset = build_dataset(network.hparams, config.dataset, config.split)
    check_splits({config.split: dataset}, config.workers or cores())
    splits = split_images(len(dataset), config.images, config.held_back, config.seed)
    return {part: cache.load(dataset, indices) for part, indices in splits.items()}


def preset(config: DictConfig, values: Values) -> str:
    """Return the YAML of a preset with these parameters."""
    source = f"ckpt={config.ckpt}; table, metrics and times are in {Path(config.paths.output_dir)}"
    return preset_text(f"{TUNED} {source}", values)


def build_crf(values: dict[str, Any]) -> DenseCRF:
    """Build a CRF, and turn invalid parameters into a ``UserError``."""
    try:
        return DenseCRF(**values)
    except (TypeError, ValueError) as error:
        raise UserError(str(error)) from error


def initial_crf(config: DictConfig) -> dict[str, Any]:
    """Return the CRF parameters that the search starts from."""
    if not config.crf:
        raise UserError("crf=none: choose the preset to start from, such as crf=deeplab")
    container: Any = OmegaConf.to_container(config.crf)
    return {name: value for name, value in container.items() if name != "_target_"}
