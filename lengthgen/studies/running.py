"""The runs of a study: what is missing is made, several at once.

A job is one arm with one seed: its training, then its evaluation under every condition. Jobs run in
processes with one thread each: models this small gain little from a second. Runs that exist are not
repeated, so rerunning a stopped or killed study resumes it. The workers of a killed study save
their training and end.
"""

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lengthgen.errors import NonFiniteError, UserError
from lengthgen.runs import stopping
from lengthgen.studies import workers as pool
from lengthgen.studies.declaration import Study, last_of_each_key
from lengthgen.studies.losses import EvaluatedArm, EvaluatedRun, Material
from lengthgen.studies.parts import Point, Scale

# On CPU unless the command line says otherwise: a GPU spends its time on launching such models, and
# its precision would make other runs of them.
ALWAYS = ("tracking=none", "device=cpu")
INTERRUPTED = tuple(128 + number for number in stopping.SIGNALS)  # exit codes


@dataclass(frozen=True)
class Job:
    arm: str
    seed: int
    training: tuple[str, ...]  # overrides of `lengthgen train`
    conditions: tuple[tuple[str, tuple[str, ...]], ...]  # name, overrides of `lengthgen evaluate`
    results: Path
    machine: tuple[str, ...]  # overrides of both: on what they run
    point: Point = ()  # of the study's grid
    trial: bool = False  # a point that is only tried: one that diverges there is no fault
    start: tuple[str, ...] = ()  # overrides of the training whose weights this one starts from

    @property
    def label(self) -> str:
        return " ".join([f"{self.arm} seed {self.seed}", *self.point])


@dataclass(frozen=True)
class JobResult:
    """evaluations: (condition, folder), "" for the arm as it was trained. error: one line."""

    job: Job
    run: str = ""
    evaluations: tuple[tuple[str, Path], ...] = ()
    status: str = ""
    seconds: float = 0.0
    error: str = ""
    exit_code: int = 0

    @property
    def diverged(self) -> bool:
        """Whether it only tried a point of a grid, at which the loss became non-finite."""
        return self.job.trial and self.exit_code == NonFiniteError.exit_code


class StudyError(UserError):
    """A run of the study failed; what the others made is kept."""

    def __init__(self, message: str, exit_code: int = 1):
        super().__init__(message)
        self.exit_code = exit_code


def jobs(study: Study, scale: Scale, results: Path, machine: Sequence[str]) -> list[Job]:
    """At the declared values, seed by seed: a stopped study has some seeds of every arm.

    With a grid its other points follow, for the seeds that choose.
    """
    common = {arm: study.points(arm, scale)[1] for arm in study.arms}
    of_declared = at(study, scale, results, machine, common)
    if not study.grid:
        return of_declared
    trials = [
        _job(study, scale, results, machine, arm, seed, point, trial=True)
        for seed in range(study.grid.seeds)
        for arm in study.arms
        for point in study.points(arm, scale)[0]
        if seed < scale.seeds_of(arm) and point != common[arm]
    ]
    return of_declared + trials


def at(
    study: Study, scale: Scale, results: Path, machine: Sequence[str], points: Mapping[str, Point]
) -> list[Job]:
    """Every seed of the arms in `points`, at these points, under every condition."""
    seeds = {arm: scale.seeds_of(arm) for arm in points}
    return [
        _job(study, scale, results, machine, arm, seed, points[arm])
        for seed in range(max(seeds.values(), default=0))
        for arm in points
        if seed < seeds[arm]
    ]


def _job(
    study: Study,
    scale: Scale,
    results: Path,
    machine: Sequence[str],
    arm: str,
    seed: int,
    point: Point,
    trial: bool = False,
) -> Job:
    training = last_of_each_key([*study.training(arm, scale), *point])
    conditions = {} if trial else study.conditions_of(arm)
    return Job(
        arm,
        seed,
        (*training, f"seed={seed}"),
        tuple((name, tuple(each)) for name, each in conditions.items()),
        results,
        (*ALWAYS, *machine),
        point,
        trial,
        _start(study, scale, arm, seed),
    )


def _start(study: Study, scale: Scale, arm: str, seed: int) -> tuple[str, ...]:
    if arm not in study.starts:
        return ()
    before = study.starts[arm]
    at_common = study.points(before, scale)[1]
    return (*last_of_each_key([*study.training(before, scale), *at_common]), f"seed={seed}")


def run(
    jobs: Sequence[Job],
    workers: int,
    config_dir: Path | None,
    report: Callable[[JobResult, int], None],
) -> list[JobResult]:
    """Make what is missing of every job. StudyError names the first that failed.

    report: called after each job, with how many have ended.
    """
    results = []
    for n_ended, result in enumerate(_results(jobs, workers, config_dir), start=1):
        results.append(result)
        report(result, n_ended)
        if result.exit_code in INTERRUPTED:  # the study was to stop, not this job alone
            raise StudyError(result.error, result.exit_code)
    failed = [result for result in results if result.error and not result.diverged]
    if failed:
        first = failed[0]
        others = f" ({len(failed)} of {len(jobs)} jobs failed)" if len(failed) > 1 else ""
        raise StudyError(
            f"arm {first.job.arm}, seed {first.job.seed}: {first.error}{others}", first.exit_code
        )
    return results


def material(
    study: Study, results: Sequence[JobResult], points: Mapping[str, Point] | None = None
) -> Material:
    """The evaluations of every subject, in the order of the seeds. points: () for an arm without.

    `points` chooses among the runs of an arm at several points of a grid.
    """
    subjects = {}
    for name in study.subjects():
        arm, _, condition = name.partition("+")
        point = (points or {}).get(arm, ())
        of_arm = (one for one in results if (one.job.arm, one.job.point) == (arm, point))
        by_seed = sorted(of_arm, key=lambda result: result.job.seed)
        subjects[name] = EvaluatedArm(
            name, [EvaluatedRun(dict(result.evaluations)[condition]) for result in by_seed]
        )
    return Material(subjects)


def _results(jobs: Sequence[Job], workers: int, config_dir: Path | None) -> Iterator[JobResult]:
    # What others start from comes first.
    for part in ([job for job in jobs if not job.start], [job for job in jobs if job.start]):
        if part:
            yield from _results_of(part, workers, config_dir)


def _results_of(jobs: Sequence[Job], workers: int, config_dir: Path | None) -> Iterator[JobResult]:
    if workers == 1:
        yield from (_work(job, config_dir) for job in jobs)
        return
    yield from pool.each([functools.partial(_work, job, config_dir) for job in jobs], workers)


def _work(job: Job, config_dir: Path | None) -> JobResult:
    started = time.monotonic()
    try:
        with stopping.watched():  # the import of torch included
            run_id, evaluations, status = _train_and_evaluate(job, config_dir)
    except UserError as error:
        message, seconds = " ".join(str(error).split()), time.monotonic() - started
        return JobResult(job, error=message, exit_code=error.exit_code, seconds=seconds)
    return JobResult(job, run_id, tuple(evaluations), status, time.monotonic() - started)


def _train_and_evaluate(
    job: Job, config_dir: Path | None
) -> tuple[str, list[tuple[str, Path]], str]:
    from lengthgen.config import compose
    from lengthgen.runs import run

    user_folders = [config_dir] if config_dir else []

    def train(*overrides: str) -> run.Outcome:
        words = [*overrides, *job.machine]
        config = compose.compose(words, config_dir=config_dir, results=job.results)
        return run.train(config, user_folders, figures=False)

    start = [f"from={train(*job.start).run_id}"] if job.start else []
    trained = train(*job.training, *start)
    evaluations, statuses = [("", trained.evaluation)], [trained.status]
    for name, condition in job.conditions:
        overrides = [f"run={trained.run_id}", *_evaluation(job.training), *condition, *job.machine]
        outcome = run.evaluate(
            compose.compose(
                overrides, command="evaluate", config_dir=config_dir, results=job.results
            ),
            user_folders,
            figures=False,
        )
        evaluations.append((name, outcome.evaluation))
        statuses.append(outcome.status)
    status = next((s for s in ("trained", "evaluated") if s in statuses), statuses[0])
    return trained.run_id, evaluations, status


def _evaluation(training: Sequence[str]) -> list[str]:
    """The overrides of a training that decide how to evaluate; a condition is evaluated alike."""
    return [override for override in training if override.lstrip("+").startswith("evaluation")]
