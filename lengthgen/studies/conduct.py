"""One study from declaration to verdict: missing runs, claims, and its folder of results."""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lengthgen.evaluation import records
from lengthgen.reporting import text_tables
from lengthgen.runs.progress import clock
from lengthgen.studies import report, study_folder
from lengthgen.studies.declaration import Scale, Study

if TYPE_CHECKING:
    from lengthgen.studies.claims import Verdict


@dataclass(frozen=True)
class Options:
    """How studies are to be run: the options of `lengthgen study`."""

    scale: str | None
    seeds: int | None
    workers: int
    results: Path
    config_dir: Path | None
    overrides: tuple[str, ...]  # of every run

    def scale_of(self, study: Study) -> tuple[str, Scale]:
        """(name of the study's folder, scale). The default scale has the bare name of the study."""
        name, scale = study.scale(self.scale)
        label = study.name if name == next(iter(study.scales)) else f"{study.name}-{name}"
        if self.seeds in (None, scale.seeds):
            return label, scale
        label = f"{label}-{self.seeds}-seeds"
        return label, dataclasses.replace(scale, seeds=self.seeds, arm_seeds={})


def run(study: Study, options: Options) -> None:
    """Make the missing runs, judge the claims, write the study's folder and print the verdict."""
    # These need torch and scipy; `lengthgen study --help` does not.
    from lengthgen.studies import claims, costs, measures, running, tables

    label, scale = options.scale_of(study)
    overrides = ["threads=1", *options.overrides]
    jobs = running.jobs(study, scale, options.results.absolute(), overrides)
    workers = max(1, min(options.workers, len(jobs)))
    print(
        f"study {label}: {len(study.arms)} arms, {scale.seeds} seeds, {len(jobs)} runs, "
        f"{workers} at a time",
        flush=True,
    )
    started, width = time.monotonic(), len(str(len(jobs)))

    def report_job(result: running.JobResult, n_ended: int) -> None:
        left = (time.monotonic() - started) / n_ended * (len(jobs) - n_ended)
        outcome = (
            f"failed: {result.error}"
            if result.error
            else f"{result.status}, {clock(result.seconds)}"
        )
        print(
            f"{n_ended:>{width}}/{len(jobs)}  {result.job.arm} seed {result.job.seed}: {outcome}"
            f"  ({clock(left)} left)",
            flush=True,
        )

    results = running.run(jobs, workers, options.config_dir, report_job)
    material = running.material(study, results)
    verdicts = claims.judge(
        study.claims,
        {name: measures.measure(material, claim) for name, claim in study.claims.items()},
    )
    rows = {
        "values": tables.values(study, material),
        "repairs": tables.repairs(study, material),
        "context": tables.effective_context(material),
        "costs": costs.rows(material, study.costs, print) if study.costs else [],
        "information": tables.mutual_information(material, study.information)
        if study.information
        else [],
        "key_tokens": tables.key_tokens(study, material),
        "claims": tables.claims(study, verdicts),
    }
    folder = options.results / report.STUDIES / label
    runs = list(dict.fromkeys(result.run for result in results))
    study_folder.write(folder, rows, _about(study, scale, options, runs))
    report.write_all(options.results)
    print(f"\n{_verdict_table(verdicts)}\n")
    print(
        f"{label}: {claims.of_verdicts(verdicts)} ({clock(time.monotonic() - started)}); "
        f"{folder / 'summary.md'}",
        flush=True,
    )


def _about(study: Study, scale: Scale, options: Options, runs: Sequence[str]) -> dict[str, Any]:
    """study.json: the declaration as it was, and what made the runs."""
    from lengthgen.reporting import publication

    origin = publication.provenance(records.run(options.results / "runs" / name) for name in runs)
    flags = {"--scale": options.scale, "--seeds": options.seeds}
    command = [
        f"lengthgen study {study.name}",
        *(f"{flag} {value}" for flag, value in flags.items() if value),
        *options.overrides,
    ]
    declared = dataclasses.asdict(study)
    same = ("name", "meaning", "claim", "show", "axis", "claims", "published")
    return {
        **{key: declared[key] for key in same},
        "command": " ".join(command),
        "seeds": list(range(scale.seeds)),
        "arms": {arm: study.training(arm, scale) for arm in study.arms},
        "conditions": {name: condition.overrides for name, condition in study.conditions.items()},
        **{key: origin[key] for key in ("commits", "devices", "threads", "versions")},
        "runs": sorted(runs),
    }


def _verdict_table(verdicts: Sequence["Verdict"]) -> str:
    """The claims for the terminal."""
    rows = [
        (
            verdict.word,
            "primary" if verdict.claim.primary else "exploratory",
            verdict.name,
            verdict.claim.predict,
            text_tables.interval(verdict.value, verdict.low, verdict.high, "{:+.4f}".format),
            verdict.claim.claim,
        )
        for verdict in verdicts
    ]
    return text_tables.aligned(("verdict", "kind", "name", "predicted", "found", "claim"), rows)
