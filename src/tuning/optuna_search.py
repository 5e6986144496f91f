"""The search for a CRF's parameters by Optuna, instead of a grid."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from src.errors import UserError
from src.tuning.search import SEARCHED, Trial, Values, described

log = logging.getLogger(__name__)

STARTUP = 10  # configurations drawn at random before the estimators have something to go by; Optuna's own default


class Optuna:
    """Tree-structured Parzen estimators: more trials where the best ones lie. The same seed makes the same search.

    Args:
        ranges: by parameter, ``{low, high, log}``.
        trials: configurations to count.
        seed: of the draws.

    Raises:
        UserError: if a range is none, or Optuna is not installed.
    """

    def __init__(self, ranges: Mapping[str, Mapping[str, Any]], trials: int, seed: int) -> None:
        try:
            import optuna
        except ImportError as error:
            raise UserError('search=optuna wants Optuna: pip install -e ".[sweep]"') from error
        if type(trials) is not int or trials < 1:
            raise UserError(f"trials={trials}: give a number of configurations, 1 or more")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.trials, self.seed = trials, seed
        self.distributions = {}
        for name, given in ranges.items():
            range_ = given if isinstance(given, Mapping) else {}
            low, high = range_.get("low", 0), range_.get("high", 0)
            numbers = all(type(value) in (int, float) for value in (low, high))
            valid = numbers and 0 < low < high and range_.get("log", False) in (True, False)
            if name not in SEARCHED or not valid or not range_.keys() <= {"low", "high", "log"}:
                raise UserError(
                    f"ranges.{name}={given}: give {{low: LOW, high: HIGH, log: true or false}}, "
                    f"0 < LOW < HIGH, for {', '.join(SEARCHED)}"
                )
            kind = "LogUniformDistribution" if range_.get("log") else "UniformDistribution"
            self.distributions[name] = getattr(optuna.distributions, kind)(float(low), float(high))

    def __call__(self, done: Sequence[Trial]) -> Iterator[tuple[Values, int]]:
        """Round 0 is drawn at random. Values have three digits: nobody wants more, and a preset is to be read."""
        import optuna

        sampler = optuna.samplers.TPESampler(n_startup_trials=STARTUP, seed=self.seed)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for number in range(self.trials):
            asked = study.ask(self.distributions)
            yield {name: float(f"{value:.3g}") for name, value in asked.params.items()}, int(number >= STARTUP)
            study.tell(asked, done[-1].miou)
            if study.best_trial.number == number:
                log.info("configuration %d: %s, mean IoU %.2f", number, described(done[-1]), 100 * done[-1].miou)
