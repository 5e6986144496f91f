"""The rules for individual keys: which values they take, and which of them are paths.

Most keys are not listed. YAML gives their defaults, whose types ``check_values`` compares. The constructors behind
``_target_`` check their own arguments, and ``src.cli.messages.argument_keys`` puts the keys into their messages. Listed
are:

- paths, to expand them, and to check that a command can write to its folders and files;
- values that Hydra reads as another type than the user means, such as the string 2012;
- values that Lightning and PyTorch reject late, or with an unclear message, or silently ignore;
- numbers whose default is null, or whose type may differ from that of the default;
- keys of commands that no constructor takes.

What a resumed run may change is in ``src.runs.resumed_settings``.
"""

from __future__ import annotations

from dataclasses import replace

from src.cli.config.rules import (
    ABOVE_ZERO,
    ANYTHING,
    BATCHES,
    BOOL,
    COUNT,
    FILE,
    FOLDER,
    NUMBER,
    PATH,
    POSITIVE,
    STRING,
    TARGET,
    ZERO_OR_MORE,
    Rule,
    either,
    integer_between,
    is_duration,
    list_of,
    one_of,
    or_auto,
    or_null,
)
from src.runs.networks import network_names

CHECKPOINT = or_null(replace(PATH, names=("last", *network_names())))
ACCELERATOR = one_of("auto", "cpu", "gpu", "cuda", "mps")
NAME = or_null(STRING)  # which may look like a number
PRECISIONS = (
    "auto", "16", "16-mixed", "16-true", "bf16", "bf16-mixed", "bf16-true", "32", "32-true", "64", "64-true",
)  # fmt: skip
SPLIT = one_of("train", "val", "test")
SEED = integer_between(0, 2**32 - 1)

# The rules of keys at the top level, by command and key. conf/COMMAND.yaml explains these keys.
RULES_OF_COMMANDS: dict[str, dict[str, Rule]] = {
    "describe": {"num_classes": POSITIVE, "size": POSITIVE},
    "evaluate": {
        "ckpt": CHECKPOINT,
        "split": SPLIT,
        "trimap": integer_between(1, 1024),
        "num_workers": or_auto(COUNT),
    },
    "export": {
        "ckpt": CHECKPOINT,
        "format": NAME,
        "output": or_null(FILE),  # a folder with format=hub
        "push": NAME,
        "license": NAME,
    },
    "playground": {
        "ckpt": CHECKPOINT,
        "examples": or_null(PATH),
        "side": integer_between(1, 4096),
        "megabytes": ABOVE_ZERO,
        "host": STRING,
        "port": integer_between(0, 65_535),
        "accelerator": ACCELERATOR,
    },
    "predict": {
        "ckpt": CHECKPOINT,
        "input": or_null(PATH),
        "output": or_null(FOLDER),
        "shard": STRING,
        "accelerator": ACCELERATOR,
    },
    "prepare": {
        "from": or_null(PATH),
        "images_from": or_null(PATH),
        "downloads": PATH,
        **dict.fromkeys(("name", "format", "unlabelled"), NAME),
        "splits": list_of(SPLIT, "a list of train, val, test"),
        "workers": or_auto(COUNT),
    },
    "report": {
        "runs": replace(or_null(either(STRING, list_of(STRING))), words="a string, or a list of strings"),
        "evaluations": PATH,
        "baseline": NAME,
        "images": COUNT,
        "candidates": POSITIVE,
    },
    "train": {
        "name": NAME,
        "seed": SEED,
        "ckpt": CHECKPOINT,
        "init_from": CHECKPOINT,
        "memory_format": one_of("auto", "channels_last", "contiguous"),
    },
    "tune_crf": {
        "ckpt": CHECKPOINT,
        "split": SPLIT,
        "images": POSITIVE,
        "seed": SEED,
        "name": NAME,
        "cache": FOLDER,
        "workers": or_null(POSITIVE),
        "storage": or_null(FILE),
        "accelerator": ACCELERATOR,
    },
}

# The rules of the parts. GROUP.*.NAME stands for the keys of this name below a group, *.NAME for those at any place.
RULES: dict[str, Rule] = {
    "*._target_": TARGET,
    "backbone.weights": replace(PATH, names=("none", "caffe", "imagenet", "imagenet_features")),
    **dict.fromkeys(("dataset.root", "dataset.cache"), or_null(PATH)),
    **dict.fromkeys(("paths.data_dir", "paths.log_dir"), PATH),
    "paths.output_dir": FOLDER,
    **{  # the callbacks and loggers may be the user's own
        f"{group}.*.{name}": replace(ANYTHING, is_path=True, written="folder" if name != "path" else "file")
        for group in ("callbacks", "logger", "trainer")
        for name in ("folder", "dirpath", "save_dir", "default_root_dir", "output_dir", "path")
    },
    # Lightning and torch check these late or not at all
    **dict.fromkeys(("dataset.seed", "data.seed"), SEED),
    "trainer.accelerator": ACCELERATOR,
    "trainer.devices": Rule(
        lambda v: v == "auto" or (integer_between(-1).fits(v) and v != 0) or list_of(COUNT).fits(v),
        "auto, a number of devices, or a list of indices: [0,1]",
    ),
    "trainer.precision": Rule(
        lambda v: str(v).removeprefix("transformer-engine") in ("", "-float16", *PRECISIONS),
        "auto, 32-true, bf16-mixed, 16-mixed, or another precision of Lightning",
    ),
    "trainer.max_steps": integer_between(-1),
    "trainer.max_epochs": or_null(integer_between(-1)),
    **dict.fromkeys(("trainer.min_steps", "trainer.min_epochs"), or_null(COUNT)),
    "trainer.max_time": or_null(Rule(is_duration, "DD:HH:MM:SS, or a mapping such as '{hours: 11, minutes: 30}'")),
    "trainer.val_check_interval": Rule(
        lambda v: v is None or POSITIVE.fits(v) or (isinstance(v, float) and 0 < v <= 1),
        "a whole number of steps, 1 or more",
    ),
    "trainer.check_val_every_n_epoch": or_null(POSITIVE),
    "trainer.num_sanity_val_steps": integer_between(-1),
    "trainer.limit_val_batches": or_null(
        replace(BATCHES, words=f"{BATCHES.words}; without validation there is no result")
    ),
    "trainer.limit_train_batches": or_null(BATCHES),
    "trainer.overfit_batches": replace(BATCHES, fits=lambda v: v == 0 or BATCHES.fits(v)),
    "trainer.fast_dev_run": Rule(either(BOOL, COUNT).fits, "true, false, or a number of batches"),
    **dict.fromkeys(("trainer.num_nodes", "trainer.accumulate_grad_batches"), POSITIVE),
    "trainer.plugins": or_null(Rule(lambda v: isinstance(v, list), "a list of plugins, each with its _target_")),
    "trainer.gradient_clip_val": or_null(ABOVE_ZERO),
    "trainer.log_every_n_steps": COUNT,
    "trainer.deterministic": Rule(lambda v: v is None or isinstance(v, bool) or v == "warn", "true, false or warn"),
    **dict.fromkeys(
        ("trainer.benchmark", "trainer.enable_checkpointing", "trainer.enable_progress_bar"), or_null(BOOL)
    ),
    "trainer.profiler": or_null(
        either(
            one_of("simple", "advanced", "pytorch", "xla"),
            Rule(lambda v: isinstance(v, dict) and "_target_" in v, "an object with its _target_"),
        )
    ),
    "trainer.model_registry": or_null(STRING),
    "callbacks.early_stopping.patience": COUNT,
    # PyTorch's schedulers divide by these, or make the learning rate negative
    "scheduler.total_iters": or_null(POSITIVE),
    **dict.fromkeys(("scheduler.step_size", "scheduler.T_max", "scheduler.T_0", "scheduler.total_steps"), POSITIVE),
    **dict.fromkeys(("scheduler.power", "scheduler.gamma"), ABOVE_ZERO),
    "scheduler.eta_min": ZERO_OR_MORE,
    # Numbers whose default is null, which does not show their type, and numbers that may also be null or a list
    **dict.fromkeys(("callbacks.crf.workers", "callbacks.crf.first_n"), or_null(POSITIVE)),
    **dict.fromkeys(("callbacks.resume.every_n_steps", "inference.window"), or_null(POSITIVE)),
    "callbacks.resume.every_minutes": or_null(NUMBER),
    "crf.sxy": either(NUMBER, list_of(NUMBER, "a list of two: [height,width]")),
    "dataset.void": ANYTHING,
}


def rule_of(key: str, command: str) -> Rule | None:
    """Return the rule of a key in the config of a command; None if it has none."""
    if rule := RULES_OF_COMMANDS.get(command, {}).get(key):
        return rule
    group, name = key.partition(".")[0], key.rpartition(".")[2]
    return RULES.get(key) or RULES.get(f"{group}.*.{name}") or RULES.get(f"*.{name}")
