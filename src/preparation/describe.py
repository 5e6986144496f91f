"""Describe a network: its layers, sizes, parameters, FLOPs and receptive field: python -m src.describe [OVERRIDES]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from src.models.heads.fully_connected import FCHead
from src.models.summary import Layer, layers_of, measure_field


def describe(config: DictConfig) -> None:
    """Print the layers of the configured network, without training it or loading weights."""
    with torch.device("meta"):
        model = instantiate(config.model, num_classes=config.num_classes).eval()
    layers = layers_of(model, config.size, config.size)
    title = f"{type(model.backbone).__name__} and {type(model.head).__name__}, {config.size}x{config.size} pixels"
    console = Console()
    if not console.is_terminal:
        console.width = 120  # a file or a pipe has no width
    console.print(layer_table(layers, title))

    field = max(layer.field for layer in layers)
    lines = {
        "parameters": f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M",
        "FLOPs": f"{sum(layer.flops for layer in layers) / 1e9:.1f} G (a multiplication and an addition are two)",
        "scores": "x".join(map(str, layers[-1].output[1:])),
        "receptive field": f"{field:.0f} pixels",
    }
    if nominal := [m.field_of_view for m in model.head.modules() if isinstance(m, FCHead)]:
        lines["fc6 as the paper counts it"] = f"{nominal[0]} pixels: 8 rate (kernel - 1) + 32"
    if config.measure:
        torch.manual_seed(0)
        measured = measure_field(instantiate(config.model, num_classes=config.num_classes), field)
        lines["measured by gradient"] = f"{measured.extent} pixels, 95 % of it within {measured.core} (random weights)"
    for name, value in lines.items():
        console.print(f"{name:<27} {value}", highlight=False, soft_wrap=True)


def layer_table(layers: Sequence[Layer], title: str) -> Table:
    """Return a table with a row for each layer."""
    table = Table(title=title, title_justify="left")
    for column in ("layer", "kind", "output", "parameters", "GFLOPs", "field, px"):
        table.add_column(column, justify="left" if column in ("layer", "kind") else "right", overflow="fold")
    for layer in layers:
        channels, *size = layer.output
        table.add_row(
            layer.name,
            layer.kind,
            f"{channels} x {'x'.join(map(str, size))}",
            f"{layer.parameters:,}" if layer.parameters else "",
            f"{layer.flops / 1e9:.2f}" if layer.flops else "",
            f"{layer.field:.0f}",
        )
    return table
