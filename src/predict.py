"""Label images with a trained network: python -m src.predict ckpt=CKPT input=FILE|FOLDER|GLOB output=FOLDER.

The work is in src/prediction/predict.py.
"""

from typing import TYPE_CHECKING, Any

from src.cli.command import command

if TYPE_CHECKING:
    from src.prediction.predictor import Prediction, Predictor

__all__ = ["Prediction", "Predictor", "main"]

main = command("predict", "src.prediction.predict:main")


def __getattr__(name: str) -> Any:
    """Return ``Prediction`` or ``Predictor``, imported only now, so that ``--help`` does not load PyTorch."""
    if name in ("Prediction", "Predictor"):
        from src.prediction import predictor

        return getattr(predictor, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if __name__ == "__main__":
    main()
