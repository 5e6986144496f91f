"""Write a trained network as a folder for the Hugging Face hub, and push it there."""

from __future__ import annotations

import json
import logging
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from omegaconf import DictConfig

from src import __version__
from src.drawing.html import css_colour
from src.models.weights.safetensors_file import write_safetensors
from src.prediction.export.formats import shareable_hparams
from src.prediction.trained_network import TrainedNetwork, load_network
from src.runs.metric_names import METHODS, metric_name
from src.runs.provenance import read_overrides
from src.system.address_secrets import summary
from src.system.addresses import HUB_FILE
from src.system.errors import UserError
from src.system.files import read_json

log = logging.getLogger(__name__)

CONFIG, CARD, PICTURES = "config.json", "README.md", "pictures.png"
FILES = (HUB_FILE, CONFIG, CARD, PICTURES)  # what is written, and replaced with overwrite=true
NEEDS = ("safetensors", "huggingface_hub")
PLACES = ("dataset.root", "dataset.cache", "paths.", "ckpt", "init_from", "backbone.weights", "name", "logger.")
METRICS = {"miou": "mean IoU", "pixel_accuracy": "pixel accuracy", "mean_accuracy": "mean accuracy"}  # on the card
PUSHED = re.compile(r"[\w.-]+/[\w.-]+")


def check_hub_options(config: DictConfig) -> None:
    """Check the options of format=hub before the work begins.

    Raises:
        UserError: naming the option and the remedy.
    """
    if config.returns != "scores":
        raise UserError(f"returns={config.returns}: format=hub holds weights, not a graph")
    folder = Path(config.output or Path(config.paths.output_dir, "hub"))
    if folder.exists() and not folder.is_dir():
        raise UserError(f"output={config.output}: is a file; format=hub writes a folder")
    if folder.exists() and any(folder.iterdir()) and not (config.overwrite and (folder / HUB_FILE).is_file()):
        raise UserError(
            f"output={config.output}: holds files already; name another folder, or, if it holds {HUB_FILE}, "
            f"set overwrite=true to replace {', '.join(FILES)} there"
        )
    missing = [name for name in NEEDS[: 2 if config.push else 1] if find_spec(name) is None]
    if missing:
        raise UserError(f'format=hub needs {", ".join(missing)}: pip install "deeplab-v1[hub]"')
    if config.push is not None:
        if not PUSHED.fullmatch(str(config.push)):
            raise UserError(f"push={config.push}: must be OWNER/NAME, a repository of the hub")
        from huggingface_hub import get_token

        if get_token() is None:
            raise UserError(f"push={config.push}: there is no token of the hub; run hf auth login, or set HF_TOKEN")


def export_folder(config: DictConfig) -> Path:
    """Write the folder, check that it loads with the same weights, and push it if asked.

    Returns:
        The path of the folder.

    Raises:
        UserError: if an option or the checkpoint cannot be used, or the hub does not take the folder.
    """
    check_hub_options(config)
    network = load_network(config.ckpt)
    folder = Path(config.output or Path(config.paths.output_dir, "hub"))
    with new_files(folder) as part:
        write_folder(network, Path(config.ckpt), part, str(config.push or "OWNER/NAME"), config.license)
        check_folder(part, network)
    written = [folder / name for name in FILES if (folder / name).is_file()]
    size = sum(path.stat().st_size for path in written)
    print(f"{folder}/  {size / 1e6:.1f} MB\n  {'  '.join(path.name for path in written)}")
    print(f"  checked: loads with the same weights; use it with ckpt={folder}")
    if config.push:
        print(push(folder, config.push))
    return folder


@contextmanager
def new_files(folder: Path) -> Iterator[Path]:
    """Yield an empty folder for ``FILES``; after the block, move them into a folder, which keeps its other files."""
    existed = folder.is_dir()
    folder.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=folder, prefix=".export-"))
    try:
        yield part
        for name in FILES:
            if (part / name).exists():
                (part / name).replace(folder / name)
            else:
                (folder / name).unlink(missing_ok=True)  # of an earlier network
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if not existed and not any(folder.iterdir()):
            folder.rmdir()


def write_folder(network: TrainedNetwork, checkpoint: Path, folder: Path, repository: str, license: str | None) -> None:
    """Write weights, config, model card and pictures.

    Args:
        network: the network.
        checkpoint: where it was loaded from; metrics and pictures are taken from its run, if it is its best.ckpt.
        folder: exists, and is empty.
        repository: for the commands on the card.
        license: of the weights, as the hub names it; None if it is not known.
    """
    parts = shareable_hparams(network)
    write_safetensors(folder / HUB_FILE, network.state_dict(), parts)
    content = {"library": "deeplab-v1", "version": __version__, **parts}
    (folder / CONFIG).write_text(json.dumps(content, indent=2) + "\n")
    run = checkpoint.parent.parent
    is_best = checkpoint.name == "best.ckpt"
    metrics = read_json(run / "metrics.json") if is_best else {}
    picture = run / "pictures" / "best.png"
    if is_best and picture.is_file():
        shutil.copy(picture, folder / PICTURES)
    notes = checkpoint.with_suffix(".md")
    public = [o for o in read_overrides(checkpoint) if not o.lstrip("+~").startswith(PLACES) and "/" not in o]
    card = model_card(
        network,
        repository,
        metrics,
        license,
        overrides=shlex.join(public),
        notes=re.sub(r"^#", "##", notes.read_text(), flags=re.MULTILINE).strip() if notes.is_file() else "",
        has_pictures=(folder / PICTURES).exists(),
    )
    (folder / CARD).write_text(card)


def check_folder(folder: Path, network: TrainedNetwork) -> None:
    """Check that the folder gives back the network.

    Raises:
        UserError: if a weight differs.
    """
    loaded, expected = load_network(folder).state_dict(), network.state_dict()
    if loaded.keys() != expected.keys() or not all(torch.equal(loaded[name], expected[name]) for name in expected):
        raise UserError(
            "format=hub: the folder's weights differ from the checkpoint's; it was not kept. Please report this"
        )


def model_card(
    network: TrainedNetwork,
    repository: str,
    metrics: Mapping[str, float],
    license: str | None,
    **values: Any,
) -> str:
    """Return the model card: what the hub reads between lines of ---, then what people read.

    Args:
        network: the network.
        repository: OWNER/NAME.
        metrics: metrics.json of the run.
        license: of the weights.
        values: more of what ``card.md.jinja`` shows.
    """
    name = repository.partition("/")[2]
    dataset = (network.hparams.get("dataset") or {}).get("_target_", "").rpartition(".")[2] or "unknown data"
    split = next(iter(metrics), "val/").partition("/")[0]
    found = [
        {"type": key, "title": title, "method": method.title, "value": metrics[metric]}
        for key, title in METRICS.items()
        for method in METHODS
        if (metric := metric_name(key, method, split)) in metrics
    ]
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.filters["cell"] = in_table
    return environment.get_template("card.md.jinja").render(
        name=name,
        repository=repository,
        header=to_yaml(card_header(name, dataset, split, found, license)),
        metrics=found,
        dataset=dataset,
        split=split,
        license=license,
        classes=list(zip(network.classes, map(css_colour, network.palette.tolist()), strict=True)),
        model=to_yaml({"model": network.hparams["model"]}),
        **values,
    )


def card_header(
    name: str, dataset: str, split: str, metrics: Sequence[Mapping[str, Any]], license: str | None
) -> dict[str, Any]:
    """Return what the hub reads: library, task, licence and metrics, as its documentation of model cards has them."""
    results = {
        "task": {"type": "image-segmentation"},
        "dataset": {"name": dataset, "type": dataset.lower(), "split": split},
        "metrics": [
            {
                "type": metric["type"],
                "name": f"{metric['title']}, {metric['method']}",
                "value": round(metric["value"], 4),
            }
            for metric in metrics
        ],
    }
    return {
        "library_name": "deeplab-v1",
        "pipeline_tag": "image-segmentation",
        "tags": ["semantic-segmentation", "deeplab", "pytorch"],
        **({"license": license} if license else {}),
        **({"model-index": [{"name": name, "results": [results]}]} if metrics else {}),
    }


def to_yaml(value: Mapping[str, Any]) -> str:
    """Return a mapping as YAML."""
    return yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True).strip()


def in_table(text: str) -> str:
    """Return a text that stays in its cell of a Markdown table."""
    return re.sub(r"([|\\`*_<>\[\]])", r"\\\1", " ".join(text.split()))


def push(folder: Path, repository: str) -> str:
    """Upload a folder to a repository of the hub and return its address; a missing repository is created as private.

    Raises:
        UserError: if the hub does not take it; the folder stays.
    """
    from huggingface_hub import HfApi

    for name in ("httpx", "httpx2"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they log each request
    log.info("pushing %s to %s", folder, repository)
    api = HfApi(library_name="deeplab-v1", library_version=__version__)
    try:
        address = api.create_repo(repository, private=True, exist_ok=True)
        message = f"deeplab-v1 {__version__}"
        api.upload_folder(repo_id=repository, folder_path=folder, allow_patterns=list(FILES), commit_message=message)
    except Exception as error:  # of the hub, of the connection, or of its libraries
        why = summary(error).rstrip(".")
        raise UserError(
            f"push={repository}: {why}. The folder {folder} is complete; run hf upload {repository} {folder}"
        ) from error
    return f"  pushed to {address}"
