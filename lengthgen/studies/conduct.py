"""One study, from its declaration to its verdict: the runs that are missing, the claims, the folder results/studies/NAME/."""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lengthgen.evaluation import records
from lengthgen.runs.progress import clock
from lengthgen.studies import report, study_folder
from lengthgen.studies.declaration import Scale, Study


@dataclass(frozen=True)
class Asked:
    """How the studies are to be run."""

    scale: str | None
    seeds: int | None
    workers: int
    results: Path
    config_dir: Path | None
    overrides: tuple[str, ...]  # of every run

    def scale_of(self, study: Study) -> tuple[str, Scale]:
        """(what the folder is called after, the scale). The study's own first scale has its bare name."""
        name, scale = study.scale(self.scale)
        label = study.name if name == next(iter(study.scales)) else f"{study.name}-{name}"
        if self.seeds in (None, scale.seeds):
            return label, scale
        return f"{label}-{self.seeds}-seeds", dataclasses.replace(
            scale, seeds=self.seeds, arm_seeds={}
        )


def run(study: Study, asked: Asked) -> None:
    """Make the runs that are missing, judge the claims, write the study's folder, and print the verdict."""
    from lengthgen.studies import claims, costs, measures, running, tables

    label, scale = asked.scale_of(study)
    jobs = running.jobs(study, scale, asked.results.absolute(), ["threads=1", *asked.overrides])
    workers = max(1, min(asked.workers, len(jobs)))
    print(
        f"study {label}: {len(study.arms)} arms, {scale.seeds} seeds, {len(jobs)} runs, {workers} at a time",
        flush=True,
    )
    began, width = time.monotonic(), len(str(len(jobs)))

    def tell(made: running.Made, ended: int) -> None:
        left = (time.monotonic() - began) / ended * (len(jobs) - ended)
        said = f"failed: {made.error}" if made.error else f"{made.status}, {clock(made.seconds)}"
        print(
            f"{ended:>{width}}/{len(jobs)}  {made.job.arm} seed {made.job.seed}: {said}  ({clock(left)} left)",
            flush=True,
        )

    made = running.run(jobs, workers, asked.config_dir, tell)
    material = running.material(study, made)
    verdicts = claims.judge(
        study.claims, {n: measures.measure(material, claim) for n, claim in study.claims.items()}
    )
    parts = {
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
    folder = asked.results / report.STUDIES / label
    study_folder.write(folder, parts, _about(study, label, scale, asked, [one.run for one in made]))
    report.write_all(asked.results)
    print("\n" + _said(verdicts))
    print(
        f"\n{label}: {claims.of_verdicts(verdicts)} ({clock(time.monotonic() - began)}); {folder / 'summary.md'}",
        flush=True,
    )


def _about(
    study: Study, label: str, scale: Scale, asked: Asked, runs: Sequence[str]
) -> dict[str, Any]:
    """study.json: the declaration as it was, and what made the runs."""
    from lengthgen.reporting import publication

    made = publication.provenance(
        records.run(asked.results / "runs" / name) for name in dict.fromkeys(runs)
    )
    flags = {"--scale": asked.scale, "--seeds": asked.seeds}
    words = [
        "lengthgen",
        "study",
        study.name,
        *(f"{flag} {value}" for flag, value in flags.items() if value),
        *asked.overrides,
    ]
    return {
        "name": study.name, "meaning": study.meaning, "claim": study.claim, "command": " ".join(words),
        "seeds": list(range(scale.seeds)), "show": study.show, "axis": study.axis,
        "arms": {arm: study.training(arm, scale) for arm in study.arms},
        "conditions": {name: one.overrides for name, one in study.conditions.items()},
        "claims": {name: dataclasses.asdict(claim) for name, claim in study.claims.items()},
        "published": [dataclasses.asdict(one) for one in study.published],
    } | {key: made[key] for key in ("commits", "devices", "threads", "versions")} | {"runs": sorted(dict.fromkeys(runs))}  # fmt: skip


def _said(verdicts: Sequence) -> str:
    """The claims for the terminal."""
    from lengthgen.reporting.text_tables import aligned

    rows = [
        (
            v.word,
            "primary" if v.claim.primary else "exploratory",
            v.name,
            v.claim.predict,
            _interval(v),
            v.claim.claim,
        )
        for v in verdicts
    ]
    return aligned(("verdict", "kind", "claim", "predicted", "found", "in words"), rows)


def _interval(verdict) -> str:
    return f"{verdict.value:+.4f} [{verdict.low:+.4f}, {verdict.high:+.4f}]"
