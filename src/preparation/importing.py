"""Import labels of another tool: make a data set of them, and the YAML with which commands find it."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from src.cli.conf_folder import CONF, conf_folders, writable_conf
from src.data.convert import Conversion, FaultyLabels, convert
from src.data.convert.source import open_source
from src.data.fingerprint import STRIDE, Fingerprint, take_fingerprint
from src.data.sets.folder import Folder
from src.errors import UserError, printable
from src.preparation.contact_sheet import contact_sheet
from src.preparation.experiment import experiment_yaml
from src.preparation.machine import this_machine
from src.preparation.proposal import propose
from src.preparation.tables import AS_IS, class_table, in_words
from src.system.command_name import as_typed
from src.system.files import expand_path, write_text
from src.system.folder_lock import exclusive_folder
from src.system.processes import cores

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Target:
    """What an import makes: a data set's folder, and YAML by group.

    Attributes:
        name: of the data set and of the YAML.
        root: the folder.
        dataset: the file for dataset=NAME.
        experiment: the file for experiment=NAME.
    """

    name: str
    root: Path
    dataset: Path
    experiment: Path

    def check_absent(self) -> None:
        """Raise ``UserError`` if a part exists already, or a file that would be found in its place."""
        groups = ("dataset", "experiment")
        hidden = [folder / group / f"{self.name}.yaml" for folder in conf_folders() for group in groups]
        for path in (self.root, self.dataset, self.experiment, *hidden):
            if path.exists() or path.is_symlink():
                raise UserError(f"name={self.name}: {path} exists and stays; choose another name, or remove it")


def find_target(config: DictConfig) -> Target:
    """Return what an import is to make.

    Raises:
        UserError: if the name is missing or cannot be used, or something of that name exists.
    """
    name = config.name
    if name is None:
        raise UserError(f"from={config['from']}: needs name=NAME, the name of the data set for dataset=NAME")
    usable = re.fullmatch(r"[A-Za-z]\w*(-\w+)*", name, re.ASCII) and isinstance(yaml.safe_load(name), str)
    if not usable or name == "none":
        raise UserError(f"name={name}: give letters, digits, _ and - for dataset=NAME, a letter first")
    files = (writable_conf() / group / f"{name}.yaml" for group in ("dataset", "experiment"))
    target = Target(name, Path(config.paths.data_dir) / name, *files)
    target.check_absent()
    return target


def import_labels(config: DictConfig) -> None:
    """Make a data set of the labels at ``config["from"]``, and conf/dataset/NAME.yaml.

    Everything is made in a hidden folder beside the data set's and moved at the end: an import that fails or is stopped
    leaves nothing.

    Raises:
        UserError: if something of that name exists, or the labels cannot be converted.
    """
    target = find_target(config)
    images = expand_path(config.images_from) if config.images_from is not None else None
    workers = cores() if config.workers == "auto" else int(config.workers)
    options = {"format_": config.format, **{key: config[key] for key in ("unlabelled", "val_share", "on_error")}}
    console = Console()
    with temporary_folder(target.root) as part:
        data = part / "data"
        data.mkdir()
        try:
            with open_source(expand_path(config["from"]), part / "unpacked", images) as source:
                conversion = convert(source, data, **options, workers=workers)
        except FaultyLabels as error:
            print_faults(console, error.faults)
            raise
        print_faults(console, conversion.faults)
        for line in describe(conversion):
            console.print(printable(line), **AS_IS)
        settings = dataset_settings(conversion)
        datasets = {split: Folder(str(data), split, **settings) for split in conversion.splits}
        fingerprint = take_fingerprint(datasets, workers)
        print_fingerprint(console, fingerprint)
        write_text(data / "fingerprint.json", json.dumps(fingerprint.as_json(), indent=2, ensure_ascii=False) + "\n")
        contact_sheet(datasets, fingerprint.examples).save(data / "contact_sheet.png")
        proposal = propose(fingerprint, this_machine(cores()), target.name)
        texts = {
            target.dataset: dataset_yaml(conversion, settings, target, config),
            target.experiment: experiment_yaml(proposal, target.name),
        }
        place(target, data, texts)
    for path in (target.root / "contact_sheet.png", target.root / "fingerprint.json", *texts):
        console.print(str(path), **AS_IS)
    log.info("look at the contact sheet; then %s experiment=%s", as_typed("train"), target.name)


def print_fingerprint(console: Console, fingerprint: Fingerprint) -> None:
    """Print sizes, pixels of each class, thin parts, and what makes metrics meaningless."""
    for split, found in fingerprint.surveys.items():
        console.print(f"{split}: {in_words(found)}", **AS_IS)
        console.print(class_table(found, fingerprint.classes))
    thin = [
        f"{name} {share:.0%}" for name, share in zip(fingerprint.classes, fingerprint.thin, strict=True) if share > 0
    ]
    console.print(
        f"pixels in parts thinner than {STRIDE}, which a score may miss: {', '.join(thin) or 'none'}", **AS_IS
    )
    for warning in fingerprint.warnings:
        console.print(f"warning: {printable(warning)}", style="yellow", **AS_IS)


def print_faults(console: Console, faults: Sequence[str]) -> None:
    """Print the faults, a line each."""
    for fault in faults:
        console.print(fault, style="red", **AS_IS)


@contextmanager
def temporary_folder(root: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``root`` that only this process uses, and remove it after the block.

    Raises:
        UserError: if another process makes the same data set.
    """
    part = root.with_name(f".{root.name}.part")
    with exclusive_folder(part):
        for left in part.iterdir():  # by a process that was killed
            if left.name != ".lock":
                shutil.rmtree(left)
        try:
            yield part
        finally:
            shutil.rmtree(part, ignore_errors=True)


def place(target: Target, data: Path, texts: Mapping[Path, str]) -> None:
    """Move the data to its place and write the YAML files: all or nothing."""
    target.check_absent()
    try:
        target.root.parent.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            write_text(path, text)
        data.rename(target.root)
    except BaseException:
        for path in texts:  # there was none before
            path.unlink(missing_ok=True)
        raise


def describe(conversion: Conversion) -> Iterator[str]:
    """Yield lines about a conversion: what was recognised, the classes, the splits, and what the user should know."""
    yield f"recognised {conversion.title}: {conversion.evidence}"
    yield f"{len(conversion.classes)} classes: {', '.join(conversion.classes)}"
    yield from conversion.notes


def dataset_settings(conversion: Conversion) -> dict[str, Any]:
    """Return the arguments of ``Folder`` for what was converted."""
    settings: dict[str, Any] = {"classes": list(conversion.classes)}
    palette = [list(map(int, colour)) for colour in conversion.palette or ()]
    if len({tuple(colour) for colour in palette}) == len(conversion.classes):
        settings["palette"] = palette  # with values, it is for display only
        settings["values"] = list(range(len(palette)))
    return settings


def dataset_yaml(conversion: Conversion, settings: Mapping[str, Any], target: Target, config: DictConfig) -> str:
    """Return the content of conf/dataset/NAME.yaml."""
    own = OmegaConf.load(CONF / "paths" / "default.yaml").data_dir
    root = f"${{paths.data_dir}}/{target.name}" if config.paths.data_dir == own else str(target.root.absolute())
    values = {"root": root, **settings}
    counts = ", ".join(f"{len(names):,} for {split}" for split, names in conversion.splits.items())
    head = f"# {target.name}: {counts}; imported from {conversion.title}.\ndefaults:\n  - folder\n  - _self_\n\n"
    return head + "".join(f"{key}: {flow(value)}\n" for key, value in values.items())


def flow(value: Any) -> str:
    """Return a value as YAML in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.removesuffix("...\n").strip()
