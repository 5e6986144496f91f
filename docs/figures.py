"""Draw the figures of the documentation: python docs/figures.py [NAME ...] writes docs/images/NAME.svg or .png."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
import torch
from hydra.utils import instantiate
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from torch import Tensor
from torch.nn import functional as F

from src.cli.compose import compose
from src.crf import DenseCRF
from src.data import CamVid, Shapes
from src.drawing.pictures import colourise
from src.evaluation.images import ERROR_COLOURS, error_map
from src.metrics.confusion import confusion_matrix, ratios
from src.models.geometry import padded_side, predict_labels, shrink_label, upsample_scores
from src.predict import Predictor

FOLDER = Path(__file__).parent / "images"
BLUE, ORANGE, GREEN, RED, GREY = "#2b6cb0", "#dd6b20", "#2f855a", "#c53030", "#a0aec0"
PRESET = {"w1": 5, "sxy": 50, "srgb": 10, "w2": 3, "sg": 3, "iterations": 10}  # conf/crf/deeplab.yaml

plt.rcParams |= {"figure.constrained_layout.use": True, "axes.titlesize": 10, "font.size": 9, "svg.hashsalt": "docs"}


def network() -> Figure:
    """The stages of VGG-16 with the LargeFOV head, with their output sizes for an image of 321x321 pixels."""
    figure, ax = plt.subplots(figsize=(9, 3.1))
    stages = [
        ("image", "321x321", "3 channels", GREY, 3.0),
        ("conv1", "321 → 161", "64", BLUE, 2.7),
        ("conv2", "161 → 81", "128", BLUE, 2.2),
        ("conv3", "81 → 41", "256", BLUE, 1.7),
        ("conv4", "41", "512\npool4: stride 1", ORANGE, 1.25),
        ("conv5", "41", "512, rate 2\npool5: stride 1", ORANGE, 1.25),
        ("fc6", "41", "1024\n3x3, rate 12", RED, 1.25),
        ("fc7", "41", "1024\n1x1", RED, 1.25),
        ("fc8", "41", "classes\n1x1", RED, 1.25),
        ("x8", "321x321", "bilinear,\nthen CRF", GREEN, 3.0),
    ]
    for x, (name, size, note, colour, height) in enumerate(stages):
        box = FancyBboxPatch((x, -height / 2), 0.5, height, boxstyle="round,pad=0.04", fc=colour, ec="none", alpha=0.85)
        ax.add_patch(box)
        ax.text(x + 0.25, height / 2 + 0.14, name, ha="center", va="bottom", weight="bold")
        ax.text(x + 0.25, -1.75, f"{size}\n{note}", ha="center", va="top", fontsize=8, linespacing=1.35)
        if x:
            ax.annotate("", (x - 0.06, 0), (x - 0.44, 0), arrowprops={"arrowstyle": "->", "color": "0.4"})
    ax.set_xlim(-0.35, len(stages) - 0.3)
    ax.set_ylim(-2.9, 2.0)
    ax.axis("off")
    return figure


def stride() -> Figure:
    """A ground truth that is shrunk and up-sampled again: what a score map at stride 8 or 32 can hold at best."""
    data = Shapes("val", {"val": 60})
    label = torch.tensor(data[1].label)[None]
    figure, axes = plt.subplots(1, 3, figsize=(8, 2.9))
    axes[0].imshow(colourise(label[0].numpy(), data.palette))
    axes[0].set_title("ground truth, 225x225")
    for ax, step in zip(axes[1:], (8, 32), strict=True):
        small = shrink_label(label, step)
        back = upsample_scores(one_hot(small, len(data.classes)), label.shape[-2:]).argmax(1)[0].byte().numpy()
        ax.imshow(colourise(back, data.palette))
        ax.set_title(f"through a {small.shape[-1]}x{small.shape[-1]} map (stride {step})")
    for ax in axes:
        ax.axis("off")
    return figure


def atrous() -> Figure:
    """The nine taps of a 3x3 convolution at three rates, on the grid of score positions."""
    figure, axes = plt.subplots(1, 3, figsize=(8, 3.0))
    reach = 13
    for ax, rate in zip(axes, (1, 4, 12), strict=True):
        for position in np.arange(-reach - 0.5, reach + 1):
            ax.plot([-reach - 0.5, reach + 0.5], [position, position], color="0.9", lw=0.5, zorder=0)
            ax.plot([position, position], [-reach - 0.5, reach + 0.5], color="0.9", lw=0.5, zorder=0)
        ax.add_patch(Rectangle((-rate - 0.5, -rate - 0.5), 2 * rate + 1, 2 * rate + 1, fc=BLUE, alpha=0.12))
        for row in (-rate, 0, rate):
            for column in (-rate, 0, rate):
                ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fc=BLUE))
        ax.set_title(f"3x3, rate {rate}: 9 weights, {2 * rate + 1} wide")
        ax.set_aspect("equal")
        ax.set_xlim(-reach - 0.6, reach + 0.6)
        ax.set_ylim(-reach - 0.6, reach + 0.6)
        ax.axis("off")
    return figure


def field_of_view() -> Figure:
    """What one position of fc6 sees of a 321-pixel crop, as the paper counts it: 8 rate (kernel - 1) + 32."""
    heads = [
        ("largefov_r4: 3x3, rate 4", 3, 4, GREEN, "-"),
        ("vanilla: 4x4, rate 4", 4, 4, BLUE, "-"),
        ("kernel7x7: 7x7, rate 4", 7, 4, ORANGE, "-"),
        ("kernel4x4: 4x4, rate 8", 4, 8, "black", (0, (4, 4))),
        ("largefov: 3x3, rate 12", 3, 12, RED, (0, (2, 6))),
    ]
    figure, (ax, taps) = plt.subplots(1, 2, figsize=(8.5, 3.9), width_ratios=(1, 1))
    ax.imshow(Shapes("val", {"val": 60}, size=321)[1].image, alpha=0.55)
    for name, kernel, rate, colour, style in heads:
        side = 8 * rate * (kernel - 1) + 32
        low, high = 160 - side / 2, 160 + side / 2
        corners = [low, high, high, low, low], [low, low, high, high, low]
        ax.plot(*corners, ls=style, lw=2.5, color=colour, label=f"{name}: {side} pixels")
    ax.set_title("the window in the image")
    ax.axis("off")
    for number, (name, kernel, rate, colour, _) in enumerate(heads):
        positions = (np.arange(kernel) - (kernel - 1) / 2) * rate
        taps.scatter(positions, [-number] * kernel, s=40, color=colour)
        taps.plot(positions[[0, -1]], [-number, -number], color=colour, lw=1, alpha=0.5)
        taps.text(-15, -number + 0.27, name, color=colour, fontsize=9)
    taps.set_title("taps along one side of fc6, in score positions")
    taps.set_ylim(-len(heads) + 0.6, 0.7)
    taps.set_yticks([])
    taps.spines[["left", "top", "right"]].set_visible(False)
    return figure


def alignment() -> Figure:
    """Scores on pixels 0, 8, 16, ...; a side of 21 pixels is padded to 25 = 8 * 3 + 1."""
    figure, ax = plt.subplots(figsize=(8.5, 2.5))
    pixels = 21
    padded = padded_side(pixels)
    for pixel in range(padded):
        inside = pixel < pixels
        ax.add_patch(
            Rectangle((pixel - 0.42, -0.42), 0.84, 0.84, fc="#bee3f8" if inside else "none", ec=BLUE, lw=0.8,
                      ls="-" if inside else ":")
        )  # fmt: skip
        ax.text(pixel, -0.62, str(pixel), ha="center", va="top", fontsize=7, color="0.3" if inside else "0.6")
    for score in range((padded - 1) // 8 + 1):
        ax.plot([8 * score, 8 * score], [0.42, 1.5], color=RED, lw=1)
        ax.scatter([8 * score], [1.55], s=130, color=RED, zorder=3)
        ax.text(8 * score, 1.95, f"score {score}", ha="center", fontsize=9, color=RED)
        if score:
            ends = (8 * score - 0.5, 1.55), (8 * score - 7.5, 1.55)
            ax.annotate("", *ends, arrowprops={"arrowstyle": "<->", "color": GREY})
            ax.text(8 * score - 4, 1.68, "8 pixels", ha="center", fontsize=8, color="0.4")
    ax.text(10, -1.35, "image: 21 pixels", ha="center", color=BLUE)
    ax.text(22.5, -1.35, "padding: 4", ha="center", color="0.5")
    ax.set_xlim(-1, padded + 0.2)
    ax.set_ylim(-1.6, 2.4)
    ax.set_aspect("equal")
    ax.axis("off")
    return figure


def crf_kernel() -> Figure:
    """How much one pixel listens to every other: the bilateral kernel for three settings, and the Gaussian."""
    sample = Shapes("val", {"val": 60})[1]
    row, column = 180, 140
    height, width = sample.label.shape
    rows, columns = np.mgrid[:height, :width]
    distance = (rows - row) ** 2 + (columns - column) ** 2
    colour = ((sample.image.astype(float) - sample.image[row, column]) ** 2).sum(2)
    kernels = {
        "bilateral: sxy 50, srgb 10": np.exp(-distance / (2 * 50**2) - colour / (2 * 10**2)),
        "bilateral: sxy 15, srgb 10": np.exp(-distance / (2 * 15**2) - colour / (2 * 10**2)),
        "bilateral: sxy 50, srgb 60": np.exp(-distance / (2 * 50**2) - colour / (2 * 60**2)),
        "Gaussian: sg 3": np.exp(-distance / (2 * 3**2)),
    }
    figure, axes = plt.subplots(1, 5, figsize=(10, 2.5))
    axes[0].imshow(sample.image)
    axes[0].set_title("image")
    for ax, (name, kernel) in zip(axes[1:], kernels.items(), strict=True):
        ax.imshow(kernel, cmap="magma", vmin=0, vmax=1)
        ax.set_title(name)
    for ax in axes:
        ax.plot(column, row, "+", color="cyan", markersize=9, markeredgewidth=1.6)
        ax.axis("off")
    return figure


def crf_parameters() -> Figure:
    """Labels as one parameter changes and the others stay: with the mean IoU of this one image."""
    data = Shapes("val", {"val": 60})
    sample = data[1]
    scores = imitated_scores(sample.label, len(data.classes))
    values = {
        "w1": (0, 2, 5, 40),
        "sxy": (3, 15, 50, 150),
        "srgb": (2, 10, 20, 60),
        "w2": (0, 3, 12, 50),
        "sg": (1, 3, 8, 20),
        "iterations": (0, 1, 3, 10),
    }
    figure, axes = plt.subplots(len(values), 5, figsize=(8.4, 10.6), dpi=110)
    for ax in axes[:, 0]:
        ax.axis("off")
    axes[0, 0].imshow(sample.image)
    axes[0, 0].set_title("image\n", fontsize=8.5)
    axes[1, 0].imshow(colourise(sample.label, data.palette))
    axes[1, 0].set_title("ground truth\n", fontsize=8.5)
    before = upsample_scores(scores[None], sample.label.shape)[0].argmax(0).byte().numpy()
    show_labels(axes[2, 0], before, sample.label, data, "network alone")
    for ax_row, (name, some) in zip(axes[:, 1:], values.items(), strict=True):
        for ax, value in zip(ax_row, some, strict=True):
            crf = DenseCRF(**{**PRESET, name: value}, engine="torch")
            refined = crf.refine_labels(sample.image.transpose(2, 0, 1), scores).numpy()
            preset = " (preset)" if value == PRESET[name] else ""
            show_labels(ax, refined, sample.label, data, f"{name} {value}{preset}")
    return figure


def one_hot(label: Tensor, classes: int) -> Tensor:
    """Scores (batch, classes, rows, columns) of a label map; void becomes background."""
    label = label.long()
    return F.one_hot(label.where(label != 255, 0), classes).permute(0, 3, 1, 2).float()


def imitated_scores(label: np.ndarray, classes: int) -> Tensor:
    """Scores (classes, rows, columns) at stride 8 of a network that is right most of the time, from its ground truth.

    The truth is blurred, as a network is unsure about boundaries, and smooth noise makes it wrong in patches.
    """
    truth = one_hot(shrink_label(torch.tensor(label)[None]), classes)
    noise = torch.randn(1, classes, 8, 8, generator=torch.Generator().manual_seed(0))
    patches = F.interpolate(noise, size=truth.shape[-2:], mode="bilinear", align_corners=True)
    return (5 * F.avg_pool2d(truth, 3, stride=1, padding=1, count_include_pad=False) + 1.2 * patches)[0]


def show_labels(ax: Axes, label: np.ndarray, truth: np.ndarray, data: Shapes, title: str) -> None:
    """Draw a label map with its mean IoU in the title."""
    counts = confusion_matrix(torch.from_numpy(label), torch.tensor(truth), len(data.classes))
    ax.imshow(colourise(label, data.palette))
    ax.set_title(f"{title}\n{100 * ratios(counts)['miou']:.0f} %", fontsize=8.5)
    ax.axis("off")


def camvid_curves() -> Figure:
    """Loss and mean IoU of the run behind ckpt=camvid_slim, from what it logged every ten steps and at validations."""
    with open(Path(__file__).parent / "runs" / "camvid_slim.csv") as file:
        rows = list(csv.DictReader(file))

    def curve(name: str, scale: float = 1) -> tuple[list[int], list[float]]:
        points = [(int(row["step"]) + 1, scale * float(row[name])) for row in rows if row[name]]
        return [step for step, _ in points], [value for _, value in points]

    figure, (losses, mious) = plt.subplots(1, 2, figsize=(8, 2.7))
    losses.plot(*curve("train/loss"), color=GREY, lw=1, label="training, single batches")
    losses.plot(*curve("val/loss"), "o-", color=RED, ms=4, label="validation")
    losses.set_title("loss")
    for name, title, colour in (("val/miou", "network", BLUE), ("val/miou_crf", "with crf=deeplab", ORANGE)):
        mious.plot(*curve(name, 100), "o-", color=colour, ms=4, label=title)
    mious.set_title("mean IoU on the validation images, %")
    for ax in (losses, mious):
        ax.set_xlim(0, 5500)
        ax.set_xlabel("step")
        ax.grid(alpha=0.3)
        ax.legend(frameon=False)
    return figure


def camvid_best_worst() -> Figure:
    """The two best and the three worst validation images of ckpt=camvid_slim with its CRF, best first."""
    with TemporaryDirectory() as unused:
        settings = compose("evaluate", "ckpt=camvid_slim", "crf=camvid_learnt", output_dir=unused).crf
    rows = []
    with Predictor("camvid_slim", crf=instantiate(settings)) as predictor:
        data = CamVid(str(Path(os.environ["DEEPLAB_DATA"]) / "camvid"), split="val")
        for sample in map(data.__getitem__, range(len(data))):
            scores = predictor.scores(sample.image)
            labels = {
                "network": predict_labels(scores[None], sample.label.shape)[0].byte().numpy(),
                "with crf=camvid_learnt": predictor.refine(sample.image, scores).label,
            }
            counts = (confusion_matrix(*map(torch.from_numpy, (label, sample.label)), 11) for label in labels.values())
            rows.append((sample, labels, [float(ratios(count)["miou"]) for count in counts]))
    rows.sort(key=lambda row: -row[2][-1])
    figure, axes = plt.subplots(5, 5, figsize=(9.2, 7.6))
    for row, (sample, labels, mious) in zip(axes, rows[:2] + rows[-3:], strict=True):
        errors = error_map(sample.label, *labels.values())
        pictures = [sample.image, *(colourise(label, data.palette) for label in (sample.label, *labels.values()))]
        notes = [sample.id, "", *(f"mean IoU {100 * miou:.1f} %" for miou in mious), ""]
        for ax, picture, note in zip(row, [*pictures, colourise(errors, ERROR_COLOURS)], notes, strict=True):
            ax.imshow(picture[::2, ::2], interpolation="nearest")
            ax.set(xticks=[], yticks=[], xlabel=note)
            ax.spines[:].set_visible(False)
    for ax, title in zip(axes[0], ["image", "true labels", *labels, "errors"], strict=True):
        ax.set_title(title, fontsize=9)
    return figure


FIGURES: dict[str, Callable[[], Figure]] = {
    "network.svg": network,
    "stride.png": stride,
    "atrous.svg": atrous,
    "field_of_view.png": field_of_view,
    "alignment.svg": alignment,
    "crf_kernel.png": crf_kernel,
    "crf_parameters.png": crf_parameters,
    "camvid_curves.png": camvid_curves,
}
if "DEEPLAB_DATA" in os.environ:  # the folder that holds camvid/
    FIGURES["camvid_best_worst.png"] = camvid_best_worst


def main(names: list[str]) -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, draw in FIGURES.items():
        if not names or Path(name).stem in names:
            notes = {"Date": None} if name.endswith("svg") else None  # drawn again, the file stays the same
            draw().savefig(FOLDER / name, dpi=110, bbox_inches="tight", pad_inches=0.05, metadata=notes)
            plt.close("all")
            print(FOLDER / name)


if __name__ == "__main__":
    main(sys.argv[1:])
