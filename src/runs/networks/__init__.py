"""Trained networks that come with the package: NAME.ckpt, described in NAME.md."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def network_names() -> list[str]:
    """Return the names of all trained networks that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.ckpt"))


def find_network(name: str | Path | None) -> Path | None:
    """Return the checkpoint of the packaged network of this name; None if it does not exist."""
    return FOLDER / f"{name}.ckpt" if str(name) in network_names() else None
