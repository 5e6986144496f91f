"""Search the CRF's parameters with Optuna instead of a grid."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from src.system.counted import counted
from src.system.errors import UserError
from src.tuning.search import SEARCHED, Trial, Values, format_values
from src.tuning.shared_study import SharedStudy, SharedTrial

log = logging.getLogger(__name__)

STARTUP = 10  # configurations drawn at random before the estimators are used; Optuna's default


class Optuna:
    """A search with tree-structured Parzen estimators, which make more trials near the best ones.

    The same seed gives the same search.

    Args:
        ranges: ``{low, high, log}`` by parameter; None keeps the value of the CRF.
        trials: number of configurations.
        seed: of the random draws.
        storage: path of a file through which several processes share the study: each begins a trial until ``trials``
            are finished, and learns from those of all. None for a study of this process.

    Raises:
        UserError: if a value is not valid, or Optuna is not installed.
    """

    def __init__(
        self, ranges: Mapping[str, Mapping[str, Any] | None], trials: int, seed: int, storage: str | None = None
    ) -> None:
        logging.getLogger("alembic").setLevel(logging.WARNING)  # Optuna's database; it logs its plugins at import
        try:
            import optuna
        except ImportError as error:
            raise UserError('search=optuna needs Optuna: pip install "deeplab-v1[sweep]"') from error
        if type(trials) is not int or trials < 1:
            raise UserError(f"trials={trials}: give a number of configurations, 1 or more")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        if storage and "://" in storage:
            raise UserError(f"storage={storage}: must be the path of a file that all processes can reach, no address")
        if not isinstance(ranges, Mapping):
            raise UserError(f"ranges={ranges}: must be ranges by parameter, such as '{{sxy: {{low: 20, high: 80}}}}'")
        self.trials, self.seed, self.storage = trials, seed, storage
        self.distributions = {}
        for name, range_given in ranges.items():
            if range_given is None:
                continue
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
        if not self.distributions:
            raise UserError(f"ranges={ranges}: has no range; give one, such as 'ranges.sxy={{low: 20, high: 80}}'")

    def __call__(self, done: Sequence[Trial], objective: str = "") -> Iterator[tuple[Values, int]]:
        """Yield configurations and their round, 0 for random draws.

        Values are rounded to three digits, to keep presets readable.

        Args:
            done: the results of what was yielded so far.
            objective: a digest of what is measured; all processes of a shared study have the same.
        """
        if self.storage:
            yield from self.search_together(done, objective, Path(self.storage))
            return
        import optuna

        sampler = optuna.samplers.TPESampler(n_startup_trials=STARTUP, seed=self.seed)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for number in range(self.trials):
            trial = study.ask(self.distributions)
            yield rounded(trial.params), int(number >= STARTUP)
            study.tell(trial, done[-1].miou)
            if study.best_trial.number == number:
                log.info("configuration %d: %s, mean IoU %.2f", number, format_values(done[-1]), 100 * done[-1].miou)

    def search_together(self, done: Sequence[Trial], objective: str, path: Path) -> Iterator[tuple[Values, int]]:
        """Yield the configurations of this process, then those of the others, so that each knows the best of all."""
        import optuna

        about = {
            "objective": objective,
            "seed": self.seed,
            "ranges": {k: repr(d) for k, d in self.distributions.items()},
        }
        shared = SharedStudy(path, about)
        study = optuna.create_study(direction="maximize")
        own: set[int] = set()
        others: dict[int, SharedTrial] = {}
        while True:
            number, finished = shared.begin(self.trials)
            new = {key: trial for key, trial in finished.items() if key not in own and key not in others}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # experimental in 2.10 only
                for params, value in new.values():
                    study.add_trial(
                        optuna.trial.create_trial(value=value, params=params, distributions=self.distributions)
                    )
            others |= new
            if number is None:
                break
            # The draws depend on the trial's number, so that no two processes draw the same.
            study.sampler = optuna.samplers.TPESampler(
                n_startup_trials=STARTUP, seed=(self.seed + 1000 * number) % 2**32
            )
            asked = study.ask(self.distributions)
            yield rounded(asked.params), int(number >= STARTUP)
            study.tell(asked, done[-1].miou)
            shared.finish(number, SharedTrial(asked.params, done[-1].miou))
            own.add(number)
            log.info("configuration %d: %s, mean IoU %.2f", number, format_values(done[-1]), 100 * done[-1].miou)
        log.info("%s of this process, %d of others", counted(len(own), "configuration"), len(others))
        yield from ((rounded(trial.params), int(number >= STARTUP)) for number, trial in sorted(others.items()))


def rounded(params: Mapping[str, float]) -> Values:
    """Return parameters with three digits."""
    return {name: float(f"{value:.3g}") for name, value in params.items()}
