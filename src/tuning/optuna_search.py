"""Search the CRF's parameters with Optuna instead of a grid."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from src.errors import UserError
from src.tuning.search import SEARCHED, Trial, Values, format_values

log = logging.getLogger(__name__)

STARTUP = 10  # configurations drawn at random before the estimators are used; Optuna's default


class Optuna:
    """A search with tree-structured Parzen estimators, which make more trials near the best ones.

    The same seed gives the same search.

    Args:
        ranges: ``{low, high, log}`` by parameter.
        trials: number of configurations.
        seed: of the random draws.

    Raises:
        UserError: if a value is not valid, or Optuna is not installed.
    """

    def __init__(self, ranges: Mapping[str, Mapping[str, Any]], trials: int, seed: int) -> None:
        try:
            import optuna
        except ImportError as error:
            raise UserError('search=optuna needs Optuna: pip install "deeplab-v1[sweep]"') from error
        if type(trials) is not int or trials < 1:
            raise UserError(f"trials={trials}: give a number of configurations, 1 or more")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.trials, self.seed = trials, seed
        self.distributions = {}
        for name, range_given in ranges.items():
            range_ = range_given if isinstance(range_given, Mapping) else {}
            low, high = range_.get("low", 0), range_.get("high", 0)
            numbers = all(type(value) in (int, float) for value in (low, high))
            valid = numbers and 0 < low < high and range_.get("log", False) in (True, False)
            if name not in SEARCHED or not valid or not range_.keys() <= {"low", "high", "log"}:
                raise UserError(
                    f"ranges.{name}={range_given}: give {{low: LOW, high: HIGH, log: true or false}}, "
                    f"0 < LOW < HIGH, for {', '.join(SEARCHED)}"
                )
            kind = "LogUniformDistribution" if range_.get("log") else "UniformDistribution"
            self.distributions[name] = getattr(optuna.distributions, kind)(float(low), float(high))

    def __call__(self, done: Sequence[Trial]) -> Iterator[tuple[Values, int]]:
        """Yield configurations and their round, 0 for random draws.

        Values are rounded to three digits, to keep presets readable.
        """
        import optuna

        sampler = optuna.samplers.TPESampler(n_startup_trials=STARTUP, seed=self.seed)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for number in range(self.trials):
            trial = study.ask(self.distributions)
            yield {name: float(f"{value:.3g}") for name, value in trial.params.items()}, int(number >= STARTUP)
            study.tell(trial, done[-1].miou)
            if study.best_trial.number == number:
                log.info("configuration %d: %s, mean IoU %.2f", number, format_values(done[-1]), 100 * done[-1].miou)
