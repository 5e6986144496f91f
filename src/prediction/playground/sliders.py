"""The sliders of the page: which parameters of the CRF they set, and between which values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from src.system.errors import UserError


@dataclass(frozen=True)
class Slider:
    """A parameter of the CRF that the page sets.

    Attributes:
        name: the parameter's.
        low, high, step: the values that the slider reaches.
        meaning: in words, for the page.
        value: at the start.
    """

    name: str
    low: float
    high: float
    step: float
    meaning: str
    value: float = 0


SLIDERS = (
    Slider("w1", 0, 20, 0.1, "bilateral: weight"),
    Slider("sxy", 1, 200, 1, "bilateral: pixels"),
    Slider("srgb", 1, 60, 0.5, "bilateral: grey levels"),
    Slider("w2", 0, 20, 0.1, "Gaussian: weight"),
    Slider("sg", 0.5, 20, 0.1, "Gaussian: pixels"),
    Slider("iterations", 0, 20, 1, "of mean field"),
)


def make_sliders(preset: Mapping[str, Any]) -> list[Slider]:
    """Return the sliders at the values of a preset; their ranges hold these values.

    Raises:
        UserError: if a value is no number, as sxy may be two.
    """
    sliders = []
    for slider in SLIDERS:
        value = preset[slider.name]
        if not is_number(value):
            raise UserError(f"crf.{slider.name}={value}: must be one number, as there is one slider for it")
        sliders.append(replace(slider, value=value, low=min(slider.low, value), high=max(slider.high, value)))
    return sliders


def read_values(sliders: Sequence[Slider], given: Any) -> dict[str, int | float]:
    """Return the values that a page has sent, by parameter; whole numbers as int.

    Raises:
        UserError: if one is missing, is no number, or lies outside the range of its slider.
    """
    values: dict[str, int | float] = {}
    for slider in sliders:
        value: Any = given.get(slider.name) if isinstance(given, dict) else None
        if not is_number(value) or not slider.low <= value <= slider.high:
            shown = f"{str(value)[:60]}..." if len(str(value)) > 60 else value
            raise UserError(f"{slider.name}={shown}: must be a number from {slider.low:g} to {slider.high:g}")
        values[slider.name] = int(value) if value == int(value) else float(value)
    return values


def is_number(value: Any) -> bool:
    """Tell whether a value is a number; a bool does not count."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
