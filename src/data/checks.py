"""Find faults in the splits of a data set, for training and for ``prepare verify=true``."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import combinations

from src.data.dataset import DatasetError, SegmentationDataset, check_classes
from src.data.survey import Survey
from src.errors import printable
from src.labels import VOID

log = logging.getLogger(__name__)


def check_splits(datasets: Mapping[str, SegmentationDataset], workers: int) -> None:
    """Find faults before any time is spent on a network; see ``SegmentationDataset.check``.

    Args:
        datasets: by split.
        workers: processes that may be used.

    Raises:
        DatasetError: naming the faulty files, or a class name that cannot be used.
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
    """Return a line for everything that training would refuse, after all samples have been opened."""
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
    """Return a line for everything that training accepts but that makes its metrics meaningless."""
    warnings = [line for split, found in surveys.items() for line in describe_classes(split, datasets[split], found)]
    warnings += describe_shared_files(datasets)
    warnings += [describe_copies(one, other, surveys) for one, other in combinations(surveys, 2)]
    return list(filter(None, warnings))


def describe_classes(split: str, dataset: SegmentationDataset, found: Survey) -> list[str]:
    """Return a line about classes that do not occur in a split, and one about a split that holds one class or void."""
    lines = []
    labels = found.labels() - {VOID}
    if labels and (absent := [name for index, name in enumerate(dataset.classes) if index not in labels]):
        consequence = "cannot be learnt" if split == "train" else "has no IoU, and the mean leaves it out"
        lines.append(f"{split}: no pixel of {shorten(absent)}: a class that does not occur {consequence}")
    if len(labels) == 1 and len(dataset.classes) > 1:
        lines.append(
            f"{split}: every pixel that counts is {dataset.classes[labels.pop()]}: any network is right about it"
        )
    elif found.void and labels:
        lines.append(f"{split}: {describe_void(len(found.void))}, such as that of {found.void[0]}")
    return lines


def describe_copies(one: str, other: str, surveys: Mapping[str, Survey]) -> str:
    """Return a line about images of one split whose pixels are those of images of another; "" if there are none."""
    first, second = surveys[one].digests, surveys[other].digests
    same = [(first[digest], second[digest]) for digest in first.keys() & second.keys()]
    copies = sorted(pair for pair in same if pair[0] != pair[1])
    if not copies:
        return ""
    return (
        f"{counted(len(copies), 'image')} in {other} and, with the same pixels, in {one}, such as {copies[0][1]} and "
        f"{copies[0][0]}: metrics on them flatter the network"
    )


def describe_empty(split: str) -> str:
    """Return a line about a split without samples."""
    return f"split {split} holds no sample"


def describe_void(count: int) -> str:
    """Return a line about masks that are void in every pixel."""
    return f"{counted(count, 'mask')} void in every pixel"


def describe_binary_masks(datasets: Mapping[str, SegmentationDataset], labels: set[int]) -> str:
    """Return a line if all masks to train with hold class 0 and void only, likely by mistake; "" if they do not."""
    if labels != {0, VOID} or "train" not in datasets:
        return ""
    return next(iter(datasets.values())).explain_binary_masks()


def describe_shared_files(datasets: Mapping[str, SegmentationDataset]) -> list[str]:
    """Return a line for each pair of splits that share image files."""
    files = {split: dataset.image_files() for split, dataset in datasets.items()}
    return [
        f"{counted(len(common), 'image')} in {one} and in {other}, such as {min(common)}: metrics on them flatter the "
        "network"
        for one, other in combinations(files, 2)
        if (common := files[one] & files[other])
    ]


def counted(count: int, noun: str) -> str:
    """Return a count with its noun and verb, such as "1 mask is" or "2 masks are"."""
    return f"{count:,} {noun} is" if count == 1 else f"{count:,} {noun}s are"


def shorten(names: Sequence[str], shown: int = 10) -> str:
    """Return names with commas, the first ten only."""
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
