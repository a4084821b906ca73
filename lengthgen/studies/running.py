"""The runs of a study: what is missing is made, several at once, each as `lengthgen train` and `lengthgen evaluate` would make it.

A job is one arm with one seed: its training, then its evaluations under every condition. Jobs run in processes of their own, on one thread
each: models so small gain little from a second. What a run's folder already holds is not done again, so that a study that was stopped, or
killed, goes on where it was. A worker whose study was killed saves what it is training, and ends.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from lengthgen.errors import UserError
from lengthgen.studies.declaration import Scale, Study
from lengthgen.studies.losses import Evaluation, Material, Subject

ALWAYS = ("tracking=none",)
WORKING = threading.Event()  # of a worker: a job is under way


@dataclass(frozen=True)
class Job:
    arm: str
    seed: int
    training: tuple[str, ...]  # overrides of `lengthgen train`
    conditions: tuple[tuple[str, tuple[str, ...]], ...]  # name, overrides of `lengthgen evaluate`
    results: Path
    how: tuple[str, ...]  # overrides of both: on what they run


@dataclass(frozen=True)
class Made:
    """What a job found or made: (condition, evaluation folder) with "" for the arm as it was trained. error: a line, and its exit code."""

    job: Job
    run: str = ""
    evaluations: tuple[tuple[str, Path], ...] = ()
    status: str = ""
    seconds: float = 0.0
    error: str = ""
    exit_code: int = 0


class StudyError(UserError):
    """A run of the study failed; what the others made is kept."""

    def __init__(self, message: str, exit_code: int = 1):
        super().__init__(message)
        self.exit_code = exit_code


def jobs(study: Study, scale: Scale, results: Path, how: Sequence[str]) -> list[Job]:
    """Every job of a study. The seeds of an arm lie far apart, so that a study that is stopped has some of every arm."""
    found = []
    seeds = {arm: scale.seeds_of(arm) for arm in study.arms}
    for seed in range(max(seeds.values())):
        for arm in (arm for arm in study.arms if seed < seeds[arm]):
            conditions = tuple(
                (name, tuple(overrides)) for name, overrides in study.conditions_of(arm).items()
            )
            found.append(
                Job(
                    arm,
                    seed,
                    (*study.training(arm, scale), f"seed={seed}"),
                    conditions,
                    results,
                    (*ALWAYS, *how),
                )
            )
    return found


def run(
    found: Sequence[Job], workers: int, config_dir: Path | None, tell: Callable[[Made, int], None]
) -> list[Made]:
    """Make what is missing of every job. tell: called after each, with how many have ended. StudyError names the first that failed."""
    made = []
    for ended, one in enumerate(_results(found, workers, config_dir), start=1):
        made.append(one)
        tell(one, ended)
    failed = [one for one in made if one.error]
    if failed:
        first = failed[0]
        others = f" ({len(failed)} of {len(found)} jobs failed)" if len(failed) > 1 else ""
        raise StudyError(
            f"arm {first.job.arm}, seed {first.job.seed}: {first.error}{others}", first.exit_code
        )
    return made


def material(study: Study, made: Sequence[Made]) -> Material:
    """The evaluations of every subject, in the order of the seeds."""
    subjects = {}
    for name in study.subjects():
        arm, _, condition = name.partition("+")
        own = sorted((one for one in made if one.job.arm == arm), key=lambda one: one.job.seed)
        subjects[name] = Subject(
            name, [Evaluation(dict(one.evaluations)[condition]) for one in own]
        )
    return Material(subjects)


def _results(found: Sequence[Job], workers: int, config_dir: Path | None) -> Iterator[Made]:
    if workers == 1:
        yield from (_work(job, config_dir) for job in found)
        return
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_begin, initargs=(os.getpid(),)
    ) as pool:
        waiting = [pool.submit(_work, job, config_dir) for job in found]
        try:
            for future in as_completed(waiting):
                yield future.result()
        except BrokenProcessPool:
            raise StudyError(
                "a worker was killed (out of memory?); the same command goes on from there, --workers 1 needs less"
            ) from None
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _begin(parent: int) -> None:
    """A new process: before it imports torch."""
    from lengthgen.runs.process import prepare_environment

    os.environ["TQDM_DISABLE"] = "1"  # several bars at once would overwrite each other
    prepare_environment()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process when its parent is gone. SIGTERM lets a training save its checkpoint first (fit.py), and ends anything else."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
    while WORKING.is_set():
        time.sleep(0.1)
    os._exit(1)


def _work(job: Job, config_dir: Path | None) -> Made:
    began = time.monotonic()
    WORKING.set()
    try:
        run_id, evaluations, status = _train_and_evaluate(job, config_dir)
    except UserError as error:
        return Made(
            job,
            error=" ".join(str(error).split()),
            exit_code=error.exit_code,
            seconds=time.monotonic() - began,
        )
    finally:
        WORKING.clear()
    return Made(job, run_id, tuple(evaluations), status, time.monotonic() - began)


def _train_and_evaluate(
    job: Job, config_dir: Path | None
) -> tuple[str, list[tuple[str, Path]], str]:
    from lengthgen.config import compose
    from lengthgen.runs import run

    user_folders = [config_dir] if config_dir else []
    trained = run.train(
        compose.compose([*job.training, *job.how], config_dir=config_dir, results=job.results),
        user_folders,
        figures=False,
    )
    evaluations, statuses = [("", trained.evaluation)], [trained.status]
    for name, overrides in job.conditions:
        given = [f"run={trained.run_id}", *_evaluation(job.training), *overrides, *job.how]
        outcome = run.evaluate(
            compose.compose(given, command="evaluate", config_dir=config_dir, results=job.results),
            user_folders,
            figures=False,
        )
        evaluations.append((name, outcome.evaluation))
        statuses.append(outcome.status)
    return (
        trained.run_id,
        evaluations,
        next((s for s in ("trained", "evaluated") if s in statuses), statuses[0]),
    )


def _evaluation(training: Sequence[str]) -> list[str]:
    """The overrides of a training that say how to evaluate: a condition is evaluated in the same way, but for what it changes itself."""
    return [override for override in training if override.lstrip("+").startswith("evaluation")]
