"""`hydra/sweeper=optuna`: values that Optuna chooses by the losses of earlier jobs.

    lengthgen train -m hydra/sweeper=optuna hydra.sweeper.n_trials=12 \\
        "optim.lr=tag(log,interval(1e-4,1e-2))"

A job returns what is to be as low as possible. The sampler is seeded, and told the results in the
order of its questions: the same command asks for the same runs again, of which the finished ones
answer at once. So nothing but the runs has to be kept. (Hydra's own plugin, 1.3, needs Optuna 2.)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

DIGITS = 4  # of a value from an interval: short enough to type


@dataclass
class OptunaConf:
    _target_: str = "hydra_plugins.lengthgen_optuna.OptunaSweeper"
    n_trials: int = 20  # jobs
    n_jobs: int = 1  # that are asked for at once, before their results are known
    seed: int = 0  # of the sampler (TPE)
    params: dict[str, str] | None = None  # as in hydra/sweeper=basic


ConfigStore.instance().store(
    group="hydra/sweeper", name="optuna", node=OptunaConf, provider="lengthgen_optuna"
)


class OptunaSweeper(Sweeper):
    def __init__(
        self, n_trials: int, n_jobs: int, seed: int, params: dict[str, str] | None
    ) -> None:
        self.n_trials, self.n_jobs, self.seed, self.params = n_trials, n_jobs, seed, params or {}
        self.launcher: Launcher | None = None
        self.hydra_context: HydraContext | None = None
        self.config: DictConfig | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Ask, run and tell, so many jobs at a time, until all are done or one was stopped."""
        assert self.hydra_context and self.launcher
        words = [*(f"{key}={value}" for key, value in self.params.items()), *arguments]
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        parsed = parser.parse_overrides(words)
        fixed = [o.input_line or "" for o in parsed if not o.is_sweep_override()]
        searched = [override for override in parsed if override.is_sweep_override()]
        study = _study(self.seed)
        for first in range(0, self.n_trials, self.n_jobs):
            trials = [study.ask() for _ in range(min(self.n_jobs, self.n_trials - first))]
            batch = [[*fixed, *(_asked(trial, each) for each in searched)] for trial in trials]
            self.validate_batch_is_legal(batch)
            returned = self.launcher.launch(batch, initial_job_idx=first)
            losses = [job.return_value for job in returned]
            if None in losses:
                return
            _tell(study, trials, losses)


def _study(seed: int) -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))


def _tell(study: Any, trials: Sequence[Any], losses: Sequence[float]) -> None:
    import optuna

    for trial, loss in zip(trials, losses, strict=True):
        if math.isfinite(loss):
            study.tell(trial, loss)
        else:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)


def _asked(trial: Any, override: Override) -> str:
    """`optim.lr=0.002154`: an override with the value that the sampler chose."""
    key = override.get_key_element()
    sweep: Any = override.value()
    log = "log" in getattr(sweep, "tags", ())
    if isinstance(sweep, IntervalSweep):
        whole = isinstance(sweep.start, int) and isinstance(sweep.end, int)
        if whole:
            return f"{key}={trial.suggest_int(key, sweep.start, sweep.end, log=log)}"
        low, high = (float(end) for end in (sweep.start, sweep.end) if end is not None)
        value = trial.suggest_float(key, low, high, log=log)
        return f"{key}={value:.{DIGITS}g}"
    if isinstance(sweep, ChoiceSweep | RangeSweep):
        options = list(override.sweep_string_iterator())
        return f"{key}={trial.suggest_categorical(key, options)}"
    raise HydraException(f"{override.input_line}: expected values, a range or an interval")
