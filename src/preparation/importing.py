"""Import labels from another tool: create a data set, and the YAML files with which commands find it."""

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
from src.data.fingerprint import Fingerprint, take_fingerprint
from src.data.sets.folder import Folder
from src.labels import STRIDE
from src.preparation.contact_sheet import contact_sheet
from src.preparation.experiment import experiment_yaml
from src.preparation.proposal import propose
from src.preparation.survey_tables import AS_IS, class_table, describe_survey
from src.preparation.training_machine import this_machine
from src.system.command_name import as_typed
from src.system.counted import counted
from src.system.errors import UserError, printable
from src.system.files import expand_path, write_text
from src.system.folder_lock import exclusive_folder
from src.system.processes import cores

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Target:
    """The paths that an import creates.

    Attributes:
        name: name of the data set and the YAML files.
        root: folder of the data set.
        dataset: YAML file for dataset=NAME.
        experiment: YAML file for experiment=NAME.
    """

    name: str
    root: Path
    dataset: Path
    experiment: Path

    def check_absent(self) -> None:
        """Raise ``UserError`` if one of the paths exists, or another file would be found instead."""
        groups = ("dataset", "experiment")
        hidden = [folder / group / f"{self.name}.yaml" for folder in conf_folders() for group in groups]
        for path in (self.root, self.dataset, self.experiment, *hidden):
            if path.exists() or path.is_symlink():
                raise UserError(f"name={self.name}: {path} already exists; choose another name, or remove it")


def find_target(config: DictConfig) -> Target:
    """Return the paths that an import is to create.

    Raises:
        UserError: if the name is missing or invalid, or already in use.
    """
    name = config.name
    if name is None:
        raise UserError(f"from={config['from']}: needs name=NAME, the name of the data set for dataset=NAME")
    is_valid = re.fullmatch(r"[A-Za-z]\w*(-\w+)*", name, re.ASCII) and isinstance(yaml.safe_load(name), str)
    if not is_valid or name == "none":
        raise UserError(f"name={name}: give letters, digits, _ and - for dataset=NAME, a letter first")
    files = (writable_conf() / group / f"{name}.yaml" for group in ("dataset", "experiment"))
    target = Target(name, Path(config.paths.data_dir) / name, *files)
    target.check_absent()
    return target


def check_source(config: DictConfig) -> None:
    """Check that there is something at ``from`` and ``images_from``.

    Raises:
        UserError: with the key of the path that does not exist.
    """
    for key, content in (("from", "labels"), ("images_from", "images")):
        if config[key] is not None and not expand_path(config[key]).exists():
            raise UserError(f"{key}={config[key]}: no such file or folder; give the folder or archive of the {content}")


def import_labels(config: DictConfig) -> None:
    """Create a data set from the labels at ``config["from"]``, and its YAML files.

    Everything is created in a hidden folder next to the data set's and moved at the end, so an import that fails or is
    stopped leaves nothing behind.

    Raises:
        UserError: if the name is already in use, or the labels cannot be converted.
    """
    target = find_target(config)
    check_source(config)
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
        move_into_place(target, data, texts)
    for path in (target.root / "contact_sheet.png", target.root / "fingerprint.json", *texts):
        console.print(str(path), **AS_IS)
    log.info("look at the contact sheet; then %s experiment=%s", as_typed("train"), target.name)


def print_fingerprint(console: Console, fingerprint: Fingerprint) -> None:
    """Print sizes, pixels of each class, thin parts, and warnings."""
    for split, found in fingerprint.surveys.items():
        console.print(f"{split}: {describe_survey(found)}", **AS_IS)
        console.print(class_table(found, fingerprint.classes))
    thin = [
        f"{name} {share:.0%}" for name, share in zip(fingerprint.classes, fingerprint.thin, strict=True) if share > 0
    ]
    console.print(
        f"pixels in parts thinner than {STRIDE} pixels, which the scores may miss: {', '.join(thin) or 'none'}", **AS_IS
    )
    for warning in fingerprint.warnings:
        console.print(f"warning: {printable(warning)}", style="yellow", **AS_IS)


def print_faults(console: Console, faults: Sequence[str]) -> None:
    """Print the faults, one per line."""
    for fault in faults:
        console.print(fault, style="red", **AS_IS)


@contextmanager
def temporary_folder(root: Path) -> Iterator[Path]:
    """Yield an empty folder next to ``root`` that only this process uses, and remove it after the block.

    Raises:
        UserError: if another process is creating the same data set.
    """
    part = root.with_name(f".{root.name}.part")
    with exclusive_folder(part):
        for leftover in part.iterdir():  # from a killed process
            if leftover.name != ".lock":
                shutil.rmtree(leftover)
        try:
            yield part
        finally:
            shutil.rmtree(part, ignore_errors=True)


def move_into_place(target: Target, data: Path, texts: Mapping[Path, str]) -> None:
    """Write the YAML files and move the data to its final folder; on an error, undo everything."""
    target.check_absent()
    try:
        target.root.parent.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            write_text(path, text)
        data.rename(target.root)
    except BaseException:
        for path in texts:  # they did not exist before
            path.unlink(missing_ok=True)
        raise


def describe(conversion: Conversion) -> Iterator[str]:
    """Yield lines about a conversion: the recognised format, the classes, and notes."""
    yield f"recognised {conversion.title}: {conversion.evidence}"
    yield f"{counted(len(conversion.classes), 'class', 'classes')}: {', '.join(conversion.classes)}"
    yield from conversion.notes


def dataset_settings(conversion: Conversion) -> dict[str, Any]:
    """Return the arguments of ``Folder`` for a converted data set."""
    settings: dict[str, Any] = {"classes": list(conversion.classes)}
    palette = [list(map(int, colour)) for colour in conversion.palette or ()]
    if len({tuple(colour) for colour in palette}) == len(conversion.classes):
        settings["palette"] = palette  # for display only, since values are set
        settings["values"] = list(range(len(palette)))
    return settings


def dataset_yaml(conversion: Conversion, settings: Mapping[str, Any], target: Target, config: DictConfig) -> str:
    """Return the content of conf/dataset/NAME.yaml."""
    default_dir = OmegaConf.load(CONF / "paths" / "default.yaml").data_dir
    root = f"${{paths.data_dir}}/{target.name}" if config.paths.data_dir == default_dir else str(target.root.absolute())
    values = {"root": root, **settings}
    counts = ", ".join(f"{len(names):,} for {split}" for split, names in conversion.splits.items())
    head = f"# {target.name}: {counts}; imported from {conversion.title}.\ndefaults:\n  - folder\n  - _self_\n\n"
    return head + "".join(f"{key}: {flow(value)}\n" for key, value in values.items())


def flow(value: Any) -> str:
    """Return a value as one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.removesuffix("...\n").strip()
