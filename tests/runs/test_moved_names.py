"""Names of classes in configs and checkpoints of old runs."""

from pkgutil import resolve_name

from src.runs.moved_names import MOVED, with_new_names


def test_old_names_become_new_ones_wherever_they_stand() -> None:
    old = {
        "loss": {"_target_": "src.losses.CrossEntropy", "note": "src.losses.CrossEntropy"},
        "parts": [{"_target_": "src.optim.PolynomialWarmupLR"}, {"_target_": "src.optim.grouped_optimizer"}],
        "callbacks": {
            "last": {"_target_": "src.callbacks.RunCheckpoint"},
            "resume": {"_target_": "src.training.callbacks.ResumeCheckpoint"},
        },
        "other": {"_target_": "src.optimisers.Mine"},  # begins alike, but is another module
    }
    assert with_new_names(old) == {
        "loss": {"_target_": "src.training.losses.CrossEntropy", "note": "src.losses.CrossEntropy"},
        "parts": [
            {"_target_": "src.training.schedules.PolynomialWarmupLR"},
            {"_target_": "src.training.optim.grouped_optimizer"},
        ],
        "callbacks": {
            "last": {"_target_": "src.training.callbacks.RunCheckpoint"},
            "resume": {"_target_": "src.training.resume.ResumeCheckpoint"},
        },
        "other": {"_target_": "src.optimisers.Mine"},
    }


def test_every_new_name_exists() -> None:
    for name in MOVED.values():
        assert resolve_name(name) is not None
