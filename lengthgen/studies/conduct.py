"""One study from registration to verdict: missing runs, claims, and its folder of results."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lengthgen.errors import ConfigError
from lengthgen.evaluation import records
from lengthgen.reporting import text_tables
from lengthgen.studies import history, registration, report, study_folder
from lengthgen.studies.declaration import Study
from lengthgen.studies.parts import Scale
from lengthgen.studies.registration import Registration
from lengthgen.terminal.progress import Progress, clock

if TYPE_CHECKING:
    from lengthgen.studies.claims import Verdict
    from lengthgen.studies.grid import Choice
    from lengthgen.studies.losses import Material
    from lengthgen.studies.running import Job, JobResult


@dataclass(frozen=True)
class Options:
    """How studies are to be run: the options of `lengthgen study`."""

    scale: str | None
    seeds: int | None
    workers: int
    results: Path
    config_dir: Path | None
    overrides: tuple[str, ...]  # of every run
    unregistered: bool = False  # a pilot

    def scale_of(self, study: Study) -> tuple[str, Scale]:
        """(name of the study's folder, scale). The default scale has the bare name of the study."""
        name, scale = study.scale(self.scale)
        label = study.name if name == next(iter(study.scales)) else f"{study.name}-{name}"
        if self.seeds in (None, scale.seeds):
            return label, scale
        label = f"{label}-{self.seeds}-seeds"
        return label, dataclasses.replace(scale, seeds=self.seeds, arm_seeds={})

    def command(self, study: Study) -> str:
        flags = {"--scale": self.scale, "--seeds": self.seeds}
        given = (f"{flag} {value}" for flag, value in flags.items() if value)
        return " ".join([f"lengthgen study {study.name}", *given, *self.overrides])

    def registered(self, study: Study) -> tuple[str, Registration | None]:
        """(name of the study's folder, registration of what it declares now).

        ConfigError without one, unless a pilot was asked for, which has a folder of its own.
        """
        label, scale = self.scale_of(study)
        hashed = registration.digest(study, scale, self.overrides)
        found = registration.of(self.results, study, label, hashed)
        if found:
            return label, found
        if self.unregistered:
            return f"{label}-unregistered", None
        state = registration.state(registration.read(self.results, study.name), label, hashed)
        raise ConfigError(
            f"study {label}: {state}, hash now {hashed}; `{self.command(study)} --register` stores "
            "the declaration before its runs, --unregistered runs a pilot that says so"
        )

    def register(self, study: Study, source: Path) -> Registration:
        label, scale = self.scale_of(study)
        hashed = registration.digest(study, scale, self.overrides)
        return registration.register(
            self.results, study, label, hashed, self.command(study), source
        )


def run(study: Study, options: Options) -> None:
    """Make the missing runs, judge the claims, write the study's folder and print the verdict."""
    # These need torch and scipy; `lengthgen study --help` does not.
    from lengthgen.studies import (
        bias_forms,
        claims,
        costs,
        crossings,
        exposure_table,
        frontier,
        measures,
        running,
        tables,
    )

    label, registered = options.registered(study)
    _, scale = options.scale_of(study)
    machine = ["threads=1", *options.overrides]
    jobs = running.jobs(study, scale, options.results.absolute(), machine)
    print(
        f"study {label}: {len(study.arms)} arms, {scale.seeds} seeds, {len(jobs)} runs; "
        f"{_standing(registered)}",
        flush=True,
    )
    started = time.monotonic()
    results = _made(jobs, options)
    choice, own, common = _materials(study, scale, options, machine, results)
    verdicts = _judged(study, own)
    if common:
        verdicts = claims.in_both(verdicts, _judged(study, common))
    spent = costs.rows(own, study.costs, print) if study.costs else []
    rows = {
        "values": tables.values(study, own, choice.own if common else None)
        + (tables.values(study, common, choice.common, "common") if common else []),
        "rates": list(choice.rows),
        "repairs": tables.repairs(study, own),
        "context": tables.effective_context(own),
        "costs": spent,
        "frontier": frontier.rows(own, spent) if spent else [],
        "information": tables.mutual_information(own, study.information)
        if study.information
        else [],
        "differences": crossings.rows(study, own),
        "exposure": exposure_table.rows(own, study.exposure),
        "training": tables.training(study, own),
        "words": tables.words(study, own) if study.words else [],
        "key_tokens": tables.key_tokens(study, own),
        "claims": tables.claims(study, verdicts),
    }
    for asked in study.figures:
        if asked.show == measures.BIAS:
            rows["bias"], rows["bias_curves"] = bias_forms.tables(own, asked.arms or study.arms)
    folder = options.results / report.STUDIES / label
    used = {path.parent.parent for one in (own, common) if one for path in _folders(one)}
    about = _about(study, scale, options, used)
    about |= history.standing(registered, results, used)
    rows["earlier"] = history.earlier(folder, about)
    study_folder.write(folder, rows, about)
    report.write_all(options.results)
    print(f"\n{_verdict_table(verdicts)}\n")
    print(
        f"{label}: {claims.of_verdicts(verdicts)}, {history.sentence(about)} "
        f"({clock(time.monotonic() - started)}); {folder / 'summary.md'}",
        flush=True,
    )


def _standing(registered: Registration | None) -> str:
    if registered is None:
        return "not registered: a pilot"
    return f"registration {registered.number} of {registered.date}"


def _made(jobs: Sequence["Job"], options: Options) -> list["JobResult"]:
    """The results of jobs, with a line for each."""
    from lengthgen.studies import running

    started, width = time.monotonic(), len(str(len(jobs)))
    workers = max(1, min(options.workers, len(jobs)))
    progress = Progress("runs", len(jobs), unit="run")

    def report_job(result: running.JobResult, n_ended: int) -> None:
        left = (time.monotonic() - started) / n_ended * (len(jobs) - n_ended)
        failed = "diverged" if result.diverged else "failed"
        outcome = (
            f"{failed}: {result.error}"
            if result.error
            else f"{result.status}, {clock(result.seconds)}"
        )
        print(
            f"{n_ended:>{width}}/{len(jobs)}  {result.job.label}: {outcome} ({clock(left)} left)",
            flush=True,
        )
        progress.move(n_ended)

    with progress:
        return running.run(jobs, workers, options.config_dir, report_job)


def _materials(
    study: Study,
    scale: Scale,
    options: Options,
    machine: Sequence[str],
    results: Sequence["JobResult"],
) -> tuple["Choice", "Material", "Material | None"]:
    """(choice, material at each arm's own best, that at the common values, None without a grid).

    Makes the runs at those of the own best that are not the common ones.
    """
    from lengthgen.studies import grid, running

    choice = grid.choose(study, scale, results)
    common = running.material(study, results, choice.common)
    if not study.grid:
        return choice, common, None
    jobs = running.at(study, scale, options.results.absolute(), machine, choice.moved)
    if jobs:
        best = "; ".join(f"{arm}: {' '.join(point)}" for arm, point in choice.moved.items())
        print(f"own best where it is not the common value: {best}; {len(jobs)} runs", flush=True)
        # Those that chose lack the conditions: the newer results take their place.
        made = _made(jobs, options)
        results = [*(one for one in results if not one.job.trial), *made]
    return choice, running.material(study, results, choice.own), common


def _judged(study: Study, material: "Material") -> list["Verdict"]:
    from lengthgen.studies import claims, measures, preconditions

    measured = {name: measures.measure(material, claim) for name, claim in study.claims.items()}
    return claims.judge(
        study.claims, measured, preconditions.of_claims(material, study.claims.items())
    )


def _folders(material: "Material") -> list[Path]:
    return [one.folder for subject in material.subjects.values() for one in subject.evaluations]


def _about(study: Study, scale: Scale, options: Options, used: set[Path]) -> dict[str, Any]:
    """study.json: the declaration as it was, and what made the runs."""
    from lengthgen.reporting import publication

    origin = publication.provenance(records.run(folder) for folder in used)
    declared = dataclasses.asdict(study)
    same = ("name", "meaning", "claim", "check", "show", "axis", "figures", "claims", "published")
    conditions: Mapping[str, Any] = study.conditions
    return {
        **{key: declared[key] for key in same},
        "grid": declared["grid"],
        "command": options.command(study),
        "seeds": list(range(scale.seeds)),
        "arms": {arm: study.training(arm, scale) for arm in study.arms},
        **({"starts": dict(study.starts)} if study.starts else {}),
        "conditions": {name: condition.overrides for name, condition in conditions.items()},
        **{key: origin[key] for key in ("commits", "devices", "threads", "versions")},
        "runs": sorted(folder.name for folder in used),
    }


def _verdict_table(verdicts: Sequence["Verdict"]) -> str:
    """The claims for the terminal."""
    rows = [
        (
            verdict.word,
            verdict.claim.role,
            verdict.name,
            verdict.claim.predict,
            text_tables.interval(verdict.value, verdict.low, verdict.high, "{:+.4f}".format),
            "; ".join(filter(None, (verdict.claim.claim, verdict.reason))),
        )
        for verdict in verdicts
    ]
    return text_tables.aligned(("verdict", "kind", "name", "predicted", "found", "claim"), rows)
