"""Say which settings of a run a resumed run keeps, which it may not change, and which may differ.

An entry is a part or a key of the config, and covers the keys below it.
"""

# A resumed run may not change these: they decide what a step computes, in addition to the settings that a checkpoint
# stores.
REFUSED = (
    "seed", "data.batch_size", "data.seed", "dataset", "augmentation", "loss", "callbacks.weight_averaging",
    "trainer.accumulate_grad_batches", "trainer.gradient_clip_val", "trainer.gradient_clip_algorithm",
    "trainer.limit_train_batches", "trainer.overfit_batches",
)  # fmt: skip

# A resumed run keeps these if the defaults have changed since the run began.
KEPT = (
    *REFUSED, "data", "backbone", "head", "model", "optimizer", "scheduler", "crf",
    "trainer.max_steps", "trainer.max_epochs", "trainer.val_check_interval", "trainer.check_val_every_n_epoch",
)  # fmt: skip

# These may differ without a word: they change no result, or follow from other settings. *.NAME covers the keys of this
# name at any place. Where entries of REFUSED and IGNORED cover the same key, the longest counts. All other differences
# are logged.
IGNORED = (
    "command", "name", "ckpt", "init_from", "memory_format", "hydra", "paths", "logger", "model", "data",
    "dataset.root", "dataset.cache", "callbacks.progress", "*.path", "*.dirpath", "*.folder",
    "trainer._target_", "trainer.default_root_dir", "trainer.max_time",
)  # fmt: skip
