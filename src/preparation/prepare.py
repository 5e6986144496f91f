"""Get a data set: python -m src.prepare dataset=CHOICE [verify=true], or from=PATH name=NAME."""

from __future__ import annotations

import logging
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

from src.data.checks import find_faults, find_warnings
from src.data.dataset import SegmentationDataset
from src.data.survey import survey
from src.preparation.importing import import_labels
from src.preparation.survey_tables import AS_IS, class_table, describe_survey
from src.system.counted import counted
from src.system.errors import UserError, name_settings, printable
from src.system.processes import cores

log = logging.getLogger(__name__)


def main(config: DictConfig) -> None:
    """Import labels with from=PATH, check a data set with verify=true, or download one."""
    if config["from"] is not None:
        import_labels(config)
    elif config.name is not None:
        raise UserError(f"name={config.name}: is for a data set that from=PATH creates; give from=PATH too")
    elif config.verify:
        verify(config)
    else:
        prepare(config)


def prepare(config: DictConfig) -> None:
    """Fetch, check and unpack the release of the data set that ``conf/release/`` describes.

    Raises:
        UserError: if there is no such release, or it cannot be fetched or unpacked.
    """
    if config.get("release") is None:
        raise UserError(
            "dataset=NAME is needed: a data set with a known release, which --help lists; "
            "verify=true checks data that you have"
        )
    instantiate(config.release).prepare(Path(config.dataset.root), Path(config.downloads))
    log.info("%s is ready; verify=true checks every sample", config.dataset.root)


def verify(config: DictConfig) -> None:
    """Open every sample of every split; print a table of classes and every fault.

    Raises:
        UserError: if there are faults.
    """
    workers = cores() if config.workers == "auto" else int(config.workers)
    # A listed image that is missing is one fault among others, and must not end the check.
    options = {"on_error": "skip"} if config.dataset.get("on_error") == "raise" else {}
    datasets: dict[str, SegmentationDataset] = {
        split: instantiate(config.dataset, split=split, _partial_=False, **options) for split in config.splits
    }
    surveys = {split: survey(dataset, workers) for split, dataset in datasets.items()}
    console = Console()
    for split, found in surveys.items():
        console.print(f"{split}: {describe_survey(found)}", highlight=False, soft_wrap=True)
        console.print(class_table(found, datasets[split].classes))
    keys = {str(name): f"dataset.{name}" for name in config.dataset}
    for warning in find_warnings(datasets, surveys):
        console.print(f"warning: {printable(name_settings(warning, keys))}", style="yellow", **AS_IS)
    faults = find_faults(datasets, surveys)
    for fault in faults:
        console.print(printable(name_settings(fault, keys)), style="red", **AS_IS)
    if faults:
        bad = sum(len(found.faults) for found in surveys.values())
        total = sum(found.samples for found in surveys.values())
        raise UserError(
            f"{counted(len(faults), 'fault')}, listed above; {bad} of {counted(total, 'sample')} cannot be used"
        )
