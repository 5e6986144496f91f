"""Propose an experiment for a data set: a starting point, with the reason for each setting."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from src.data.fingerprint import Fingerprint
from src.preparation.training_machine import Machine
from src.system.counted import counted

CROP = 321  # the paper's
LARGE_CROP = 513  # as in later versions of DeepLab
RARE = 0.02  # fraction of pixels below which a class needs weight
THIN = 0.3  # fraction of pixels in thin parts above which the loss uses every pixel
WINDOW_PIXELS = {"cuda": 8e6, "mps": 4e6, "cpu": 4e6}  # larger images are evaluated in windows
# Memory per image and megapixel in GiB: float32 activations saved by autograd (measured with saved_tensors_hooks: 0.8
# for slim, 2.0 for vgg16, with largefov), and as much again for gradients and workspace.
MEMORY = {"slim": 1.7, "vgg16": 4.1}


@dataclass
class Setting:
    """A setting and the reason for it."""

    value: Any
    reason: str


@dataclass
class Proposal:
    """Choices of groups and values of keys ("trainer.max_steps"), each with its reason, and further remarks."""

    groups: dict[str, Setting] = field(default_factory=dict)
    values: dict[str, Setting] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def propose(fingerprint: Fingerprint, machine: Machine, name: str) -> Proposal:
    """Return a proposal for a data set and a machine.

    Args:
        fingerprint: fingerprint of the data set.
        machine: the machine to train on.
        name: name of the data set, as in dataset=NAME.
    """
    proposal = Proposal({"dataset": Setting(name, "")})
    backbone = choose_backbone(proposal, machine)
    crop = choose_crop(proposal, fingerprint, machine)
    choose_augmentation(proposal, fingerprint)
    choose_loss(proposal, fingerprint)
    batch = choose_batch(proposal, fingerprint, machine, backbone, crop)
    choose_length(proposal, fingerprint, machine, backbone, crop, batch)
    describe_inference(proposal, fingerprint, machine)
    return proposal


def choose_backbone(proposal: Proposal, machine: Machine) -> str:
    """Choose VGG-16 if a GPU and ImageNet weights are available, otherwise the slim network."""
    if machine.has_weights and machine.device == "cuda":
        proposal.groups["backbone"] = Setting("vgg16", "ImageNet weights and a GPU are available")
        proposal.groups["optimizer"] = Setting("paper", "for a network that starts from ImageNet weights")
        proposal.values["backbone.weights"] = Setting("imagenet", "needs less data than training from scratch")
        return "vgg16"
    proposal.groups["backbone"] = Setting(
        "slim", "trains from scratch" + ("" if machine.device == "cuda" else ", even on a CPU")
    )
    if machine.device == "cuda":
        proposal.remarks.append(
            "Better, if you can download torchvision's VGG-16 (528 MB): backbone=vgg16 backbone.weights=imagenet "
            "optimizer=paper"
        )
    return "slim"


def choose_crop(proposal: Proposal, fingerprint: Fingerprint, machine: Machine) -> int:
    """Choose a crop size: whole images if they are small, otherwise the paper's size or a larger one."""
    sides = fingerprint.sides()
    width, height = sides[len(sides) // 2].tolist()
    longest = int(np.quantile(sides.max(1), 0.9))
    if longest <= CROP:
        crop, reason = (
            8 * -(-(longest - 1) // 8) + 1,
            f"8k + 1; nine in ten images fit into it (the median is {width}x{height})",
        )
    elif machine.device == "cuda" and min(width, height) >= 700:
        crop, reason = LARGE_CROP, f"images are large (the median is {width}x{height}), and the GPU can handle it"
    else:
        crop, reason = CROP, f"the paper's size; the median image is {width}x{height}"
    proposal.values["augmentation.crop_size"] = Setting(crop, reason)
    return crop


def choose_augmentation(proposal: Proposal, fingerprint: Fingerprint) -> None:
    """Choose scale jitter, and no mirroring if class names distinguish left and right."""
    proposal.groups["augmentation"] = Setting(
        "scale_jitter", "objects appear at other scales than in the training images"
    )
    thin = fingerprint.thin_share()
    if thin > THIN:
        proposal.values["augmentation.scale"] = Setting(
            [0.75, 2.0],
            f"{thin:.0%} of the objects' pixels are in parts thinner than 8 pixels: smaller ones would vanish",
        )
    else:
        proposal.values["augmentation.scale"] = Setting([0.5, 1.5], "as in DeepLab V2")
    sided = next(
        (name for name in fingerprint.classes if re.search(r"(?<![a-z])(left|right)(?![a-z])", name.lower())), None
    )
    if sided:
        proposal.values["augmentation.mirror"] = Setting(False, f"a mirror image of {sided} would be labelled wrongly")


def choose_loss(proposal: Proposal, fingerprint: Fingerprint) -> None:
    """Choose class weights if classes are rare, and a loss on the image grid if parts are thin."""
    shares = fingerprint.shares()
    present = np.flatnonzero(shares)
    rarest = int(present[shares[present].argmin()]) if len(present) else 0
    if len(present) > 1 and shares[rarest] < RARE:
        reason = f"{fingerprint.classes[rarest]} has {shares[rarest]:.2%} of the pixels"
        proposal.groups["loss"] = Setting("class_balanced", reason)
        proposal.values["loss.criterion.beta"] = Setting(0.998, "weights decrease up to 500 positions in a batch")
    else:
        reason = f"every class has at least {RARE:.0%} of the pixels"
        proposal.groups["loss"] = Setting("cross_entropy", reason)
    if (thin := fingerprint.thin_share()) > THIN:
        proposal.values["loss.grid"] = Setting(
            "image", f"{thin:.0%} of the objects' pixels are in thin parts, which the grid of scores misses"
        )


def choose_batch(proposal: Proposal, fingerprint: Fingerprint, machine: Machine, backbone: str, crop: int) -> int:
    """Choose the largest batch that the data fills and that fits in 60 % of GPU memory or 30 % of CPU memory."""
    share = 0.6 if machine.device == "cuda" else 0.3
    fitting = share * machine.memory / (MEMORY[backbone] * crop**2 / 1e6)
    largest = 32 if machine.device == "cuda" else 8
    samples = fingerprint.surveys["train"].samples
    batch = next((size for size in (32, 16, 8, 4) if size <= min(fitting, largest) and size <= max(4, samples)), 2)
    need = batch * MEMORY[backbone] * crop**2 / 1e6
    proposal.values["data.batch_size"] = Setting(batch, f"needs about {need:.1f} of {machine.memory:.0f} GiB")
    return batch


def choose_length(
    proposal: Proposal, fingerprint: Fingerprint, machine: Machine, backbone: str, crop: int, batch: int
) -> None:
    """Choose enough steps to see each image about 80 times, within bounds, and five validations."""
    samples = fingerprint.surveys["train"].samples
    most = 6000 if machine.device == "cuda" else 2000
    steps = 100 * round(min(max(80 * samples / batch, 600), most) / 100)
    views = f"{steps * batch / samples:.0f} views of each of the {samples:,} images"
    if machine.device == "cpu":
        minutes = steps * batch * crop**2 / 1e6 * machine.seconds / machine.cores / 60
        views += f"; about {counted(max(1, round(minutes)), 'minute')} on this machine, without validations"
    proposal.values["trainer.max_steps"] = Setting(steps, views)
    proposal.values["trainer.val_check_interval"] = Setting(steps // 5, "five validations")


def describe_inference(proposal: Proposal, fingerprint: Fingerprint, machine: Machine) -> None:
    """Add a remark on whether images are evaluated whole or in windows."""
    width, height = fingerprint.sides()[-1].tolist()
    if width * height > WINDOW_PIXELS[machine.device]:
        proposal.remarks.append(
            f"The largest image is {width}x{height}: evaluate and predict in windows (inference=windows), and if "
            "validation runs out of memory, cut images into tiles."
        )
    else:
        proposal.remarks.append(f"Images are evaluated whole: the largest is {width}x{height}.")
