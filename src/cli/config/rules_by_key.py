"""What the command line knows of single keys: which values they take, and which of them are paths.

Most keys are not listed. YAML gives their defaults, whose types ``check_values`` compares. The constructors behind
``_target_`` check their own arguments, and ``src.cli.messages.argument_keys`` puts the keys into their messages. Listed
are:

- paths, to expand them, and to check that a command can write where it will;
- values that Hydra reads as another type than the user means, such as the string 2012;
- values that Lightning and PyTorch reject late, or with an unclear message, or silently ignore;
- numbers whose default is null, or that may be something else than their default;
- keys of commands that no constructor takes.

What a resumed run may change depends on the parts of the config, and is in ``src.training.resume.same_run``.
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

# The rules, by key. GROUP.*.NAME stands for the keys of this name below a group, *.NAME for those at any place.
RULES: dict[str, Rule] = {
    "*._target_": TARGET,
    # Paths that a command reads, or that it checks itself before it writes
    "ckpt": or_null(replace(PATH, names=("last", *network_names()))),
    "init_from": or_null(replace(PATH, names=tuple(network_names()))),
    "input": or_null(replace(PATH, names=("uint8", "float32"))),  # the names are those of export
    "backbone.weights": replace(PATH, names=("none", "caffe", "imagenet", "imagenet_features")),
    **dict.fromkeys(("from", "images_from", "examples", "dataset.root", "dataset.cache"), or_null(PATH)),
    **dict.fromkeys(("downloads", "evaluations", "paths.data_dir", "paths.log_dir"), PATH),
    # Paths that a command writes to. The callbacks and loggers may be the user's own.
    "output": or_null(FOLDER),  # a file for most formats of export
    "storage": or_null(FILE),
    **dict.fromkeys(("cache", "paths.output_dir"), FOLDER),
    **{
        f"{group}.*.{name}": replace(ANYTHING, is_path=True, written="folder" if name != "path" else "file")
        for group in ("callbacks", "logger", "trainer")
        for name in ("folder", "dirpath", "save_dir", "default_root_dir", "output_dir", "path")
    },
    # Strings that may look like a number or a list
    **dict.fromkeys(("name", "baseline", "push", "license", "format", "unlabelled"), or_null(STRING)),
    **dict.fromkeys(("shard", "host"), STRING),
    "runs": Rule(or_null(either(STRING, list_of(STRING, ""))).fits, "a string, or a list of strings"),
    # Lightning and torch check these late or not at all
    **dict.fromkeys(("seed", "dataset.seed", "data.seed"), integer_between(0, 2**32 - 1)),
    "memory_format": one_of("auto", "channels_last", "contiguous"),
    "trainer.devices": Rule(
        lambda v: v == "auto" or (integer_between(-1).fits(v) and v != 0) or list_of(COUNT, "").fits(v),
        "auto, a number of devices, or a list of indices: [0,1]",
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
    "callbacks.resume.every_n_steps": or_null(POSITIVE),
    **dict.fromkeys(("callbacks.resume.every_minutes", "inference.window"), or_null(NUMBER)),
    "crf.sxy": either(NUMBER, list_of(NUMBER, "a list of two: [height,width]")),
    "dataset.void": ANYTHING,
    # Keys of commands that no constructor takes
    "num_workers": or_auto(COUNT),
    "workers": or_null(or_auto(COUNT)),
    "splits": list_of(one_of("train", "val", "test"), "a list of train, val, test"),
    "split": one_of("train", "val", "test"),
    "trimap": integer_between(1, 10_000),
    **dict.fromkeys(("size", "num_classes", "candidates"), POSITIVE),
    "images": COUNT,
    "port": integer_between(0, 65_535),
    "side": integer_between(1, 4096),
    "megabytes": ABOVE_ZERO,
}


def rule_of(key: str) -> Rule | None:
    """Return the rule of a key; None if it has none."""
    group, name = key.partition(".")[0], key.rpartition(".")[2]
    return RULES.get(key) or RULES.get(f"{group}.*.{name}") or RULES.get(f"*.{name}")
