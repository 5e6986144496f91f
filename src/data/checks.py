"""Find faults in the splits of a data set, for training and ``prepare verify=true``."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import combinations

from src.data.dataset import DatasetError, SegmentationDataset, check_classes
from src.data.survey import Survey
from src.labels import VOID
from src.system.counted import counted
from src.system.errors import printable

log = logging.getLogger(__name__)


def check_splits(datasets: Mapping[str, SegmentationDataset], workers: int) -> None:
    """Check the splits before any time is spent on a network; see ``SegmentationDataset.check``.

    Args:
        datasets: the data set of each split.
        workers: number of processes to use.

    Raises:
        DatasetError: with the faulty files, or an invalid class name.
    """
    for split, dataset in datasets.items():
        check_classes(dataset.classes)
        if not len(dataset):
            raise DatasetError(describe_empty(split))
        dataset.check(workers)
    if line := describe_binary_masks(datasets, set().union(*(dataset.labels for dataset in datasets.values()))):
        raise DatasetError(line)
    for line in describe_shared_files(datasets):
        log.warning("%s", printable(line))


def find_faults(datasets: Mapping[str, SegmentationDataset], surveys: Mapping[str, Survey]) -> list[str]:
    """Return a line for everything that training would reject, from surveys of all samples."""
    faults = [line for found in surveys.values() for line in found.lines()]
    faults += [describe_empty(split) for split, found in surveys.items() if not found.samples]
    faults += [
        f"{split}: {describe_void(len(found.void))}"
        for split, found in surveys.items()
        if found.labels() == {VOID} and not datasets[split].may_be_void
    ]
    faults.append(describe_binary_masks(datasets, set().union(*(found.labels() for found in surveys.values()))))
    return list(dict.fromkeys(filter(None, faults)))


def find_warnings(datasets: Mapping[str, SegmentationDataset], surveys: Mapping[str, Survey]) -> list[str]:
    """Return a line for everything that training accepts but that makes its metrics misleading."""
    warnings = [line for split, found in surveys.items() for line in describe_classes(split, datasets[split], found)]
    warnings += describe_shared_files(datasets)
    warnings += [describe_copies(first, second, surveys) for first, second in combinations(surveys, 2)]
    return list(filter(None, warnings))


def describe_classes(split: str, dataset: SegmentationDataset, found: Survey) -> list[str]:
    """Return lines about classes that a split lacks, and about a split with one class only or void masks."""
    lines = []
    labels = found.labels() - {VOID}
    if labels and (absent := [name for index, name in enumerate(dataset.classes) if index not in labels]):
        consequence = "cannot be learned" if split == "train" else "has no IoU, and the mean leaves it out"
        lines.append(f"{split}: no pixel of {shorten(absent)}: a class that does not occur {consequence}")
    if len(labels) == 1 and len(dataset.classes) > 1:
        lines.append(f"{split}: every pixel that counts is {dataset.classes[labels.pop()]}: any network gets it right")
    elif found.void and labels:
        lines.append(f"{split}: {describe_void(len(found.void))}, such as that of {found.void[0]}")
    return lines


def describe_copies(first: str, second: str, surveys: Mapping[str, Survey]) -> str:
    """Return a line about images with the same pixels in two splits; "" if there are none."""
    first_ids, second_ids = surveys[first].digests, surveys[second].digests
    same = [(first_ids[digest], second_ids[digest]) for digest in first_ids.keys() & second_ids.keys()]
    copies = sorted(pair for pair in same if pair[0] != pair[1])
    if not copies:
        return ""
    images = counted(len(copies), "image is", "images are")
    return (
        f"{images} in {second} and, with the same pixels, in {first}, such as {copies[0][1]} and {copies[0][0]}: "
        "metrics on them are too good"
    )


def describe_empty(split: str) -> str:
    """Return a line about a split without samples."""
    return f"split {split} has no samples"


def describe_void(count: int) -> str:
    """Return a line about masks that are entirely void."""
    return f"{counted(count, 'mask is', 'masks are')} void in every pixel"


def describe_binary_masks(datasets: Mapping[str, SegmentationDataset], labels: set[int]) -> str:
    """Return a line if all training masks contain only class 0 and void, probably by mistake; "" otherwise."""
    if labels != {0, VOID} or "train" not in datasets:
        return ""
    return next(iter(datasets.values())).explain_binary_masks()


def describe_shared_files(datasets: Mapping[str, SegmentationDataset]) -> list[str]:
    """Return a line for each pair of splits that share image files."""
    files = {split: dataset.image_files() for split, dataset in datasets.items()}
    return [
        f"{counted(len(common), 'image is', 'images are')} in {first} and in {second}, such as "
        f"{min(common)}: metrics on them are too good"
        for first, second in combinations(files, 2)
        if (common := files[first] & files[second])
    ]


def shorten(names: Sequence[str], shown: int = 10) -> str:
    """Return the first names, separated by commas, and the number of further ones."""
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
