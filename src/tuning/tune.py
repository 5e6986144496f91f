"""Search the dense CRF's parameters for a trained network: python -m src.tune_crf ckpt=CHECKPOINT."""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from src.cli.conf_folder import CONF, INSTALLED, writable_conf
from src.crf import DenseCRF
from src.errors import UserError
from src.prediction.predictor import Predictor
from src.system.files import write_text
from src.training.restore import dataset_of, load_segmenter
from src.tuning.journal import Journal, digest_of
from src.tuning.results import Comparison, print_search, write_search
from src.tuning.score_cache import ScoreCache
from src.tuning.search import Confusion, Trial, Values, network_confusion, refined_confusion, search, split_images

MARK = "# Tuned by python -m src.tune_crf"  # how a preset of a search begins; nothing else is overwritten


def tune(config: DictConfig, presets: Path | None = None) -> Trial:
    """Search, compare on images that the search has not seen, write the preset; returns the best configuration.

    Args:
        presets: the folder that the preset goes to; None: the one where crf=NAME finds it.
    """
    start = time.perf_counter()
    preset = free_preset(config.name, presets or writable_conf() / "crf")
    base = base_of(config)
    if config.images < 1:
        raise UserError(f"images={config.images}: must be 1 or more")
    if not 0 <= config.held_back < 1:
        raise UserError(f"held_back={config.held_back}: must be a share, 0 <= held_back < 1")

    searcher = instantiate(config.search)
    segmenter = load_segmenter(config.ckpt)
    build_crf(base)  # says which engine serves; once is enough
    logging.getLogger("src.crf").setLevel(logging.WARNING)
    dataset = dataset_of(segmenter, config.dataset, config.split)
    options = {"inference": instantiate(config.inference), "accelerator": config.accelerator}
    settings = OmegaConf.to_container(config.inference), config.accelerator, config.precision
    cache = ScoreCache(
        Path(config.cache),
        Path(config.ckpt),
        settings,
        lambda: Predictor(config.ckpt, None, **options, precision=config.precision),
    )
    splits = split_images(len(dataset), config.images, config.held_back, config.seed)
    images = {part: cache.load(dataset, indices) for part, indices in splits.items()}
    digests = {part: digest_of(those) for part, those in images.items()}
    journal, classes = Journal(cache.folder / "counts.jsonl"), len(segmenter.classes)

    def count(values: Values, part: str = "searched") -> tuple[Confusion, float]:
        crf = build_crf({**base, **values})
        key = {"crf": repr(crf), "images": digests[part]}
        return journal.once(key, lambda: refined_confusion(crf, images[part], classes, config.workers))

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
    settings_found = OmegaConf.to_yaml({"_target_": "src.crf.DenseCRF", **base, **best.values})
    text = f"{MARK} ckpt={config.ckpt}; table, figures and time are in {folder}\n{settings_found}"
    for path in filter(None, (folder / "crf.yaml", preset)):
        write_text(path, text)
    write_search(folder, trials, comparison, {part: len(those) for part, those in images.items()}, start)
    print_search(folder, trials, comparison, preset)
    return best


def build_crf(values: dict[str, Any]) -> DenseCRF:

    try:
        return DenseCRF(**values)
    except (TypeError, ValueError) as error:
        raise UserError(str(error)) from error


def base_of(config: DictConfig) -> dict[str, Any]:
    """The CRF that the search begins with."""
    if not config.crf:
        raise UserError("crf=none: choose the preset to begin with, such as crf=deeplab")
    container: Any = OmegaConf.to_container(config.crf)
    return {name: value for name, value in container.items() if name != "_target_"}


def free_preset(name: str | None, presets: Path) -> Path | None:
    """Return the file that the result goes to, for ``crf=NAME``.

    Raises:
        UserError: if the name is that of a preset that no search has written, or of one of an installed package, or
            if the folder cannot be written to.
    """
    if name is None:
        return None
    path = presets / f"{name}.yaml"
    if not re.fullmatch(r"\w[\w.-]*", str(name)):
        raise UserError(f"name={name}: give letters, digits, _ and - for crf=NAME")
    packaged = CONF / "crf" / path.name
    hidden = INSTALLED and packaged.exists()  # crf=NAME finds the package's preset first
    if hidden or (path.exists() and not path.read_text().startswith(MARK)):
        taken = packaged if hidden else path
        raise UserError(f"name={name}: {taken} was not written by a search and stays; choose another name=")
    try:
        presets.mkdir(parents=True, exist_ok=True)
        path.touch() if path.exists() else presets.joinpath(f".{name}").touch()
        presets.joinpath(f".{name}").unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"name={name}: {presets} takes no files ({error.strerror}); name=null writes crf.yaml only"
        ) from error
    return path
