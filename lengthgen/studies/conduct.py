"""`lengthgen study NAME`: make the runs that are missing, judge the claims, write results/studies/NAME/ and say the verdict."""

import argparse
import dataclasses
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lengthgen.config import catalogue, command_line
from lengthgen.errors import ConfigError
from lengthgen.evaluation import records
from lengthgen.runs.progress import clock
from lengthgen.studies import declaration, files, report
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
        return f"{label}-{self.seeds}-seeds", dataclasses.replace(scale, seeds=self.seeds, arm_seeds={})


def main(argv: Sequence[str]) -> int:
    """Run one study, or several one after the other. Returns the exit code: 0 whatever the verdict."""
    given = _parser().parse_intermixed_args(list(argv))
    config_dir = command_line.existing_folder(given.config_dir) if given.config_dir else None
    where = catalogue.folders(config_dir)
    names = [word for word in given.words if "=" not in word]
    overrides = tuple(word for word in given.words if "=" in word)
    if not names:
        raise ConfigError(f"study which? expected one of: {', '.join(declaration.names(where))}; or `all`")
    if any(override.startswith("results=") for override in overrides):
        raise ConfigError("results=: give --results FOLDER")
    asked = Asked(given.scale, given.seeds, given.workers or os.cpu_count() or 1, Path(given.results), config_dir, overrides)
    studies = [declaration.load(name, where) for name in (declaration.names(where) if names == ["all"] else names)]
    for study in studies:
        asked.scale_of(study)  # refused before the first one begins
    began = time.monotonic()
    for study in studies:
        _run(study, asked)
    if len(studies) > 1:
        print(f"\n{len(studies)} studies in {clock(time.monotonic() - began)}; {asked.results / 'studies' / 'README.md'}", flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_line.Parser(
        prog="lengthgen study",
        description="Run what a study still lacks, and judge its claims. Given again, it goes on where it stopped.",
    )  # fmt: skip
    parser.add_argument(
        "words", nargs="*", metavar="NAME", help="a study of configs/study (or all); KEY=VALUE goes to every run, as device=cuda"
    )
    parser.add_argument("--scale", metavar="NAME", help="one of the study's scales (default: its first, for two CPU cores)")
    parser.add_argument("--seeds", type=int, metavar="N", help="so many seeds instead of the scale's; written to a folder of its own")
    parser.add_argument("--workers", type=int, metavar="N", help="runs made at the same time, one thread each (default: all cores)")
    parser.add_argument("--results", metavar="FOLDER", default="results", help="folder of runs and studies (default: results)")
    parser.add_argument("--config-dir", metavar="DIR", help="your own configurations, DIR/study/NAME.yaml among them")
    return parser


def _run(study: Study, asked: Asked) -> None:
    from lengthgen.studies import costs, judgement, measures, running, tables

    label, scale = asked.scale_of(study)
    jobs = running.jobs(study, scale, asked.results.absolute(), ["threads=1", *asked.overrides])
    workers = max(1, min(asked.workers, len(jobs)))
    print(f"study {label}: {len(study.arms)} arms, {scale.seeds} seeds, {len(jobs)} runs, {workers} at a time", flush=True)
    began, width = time.monotonic(), len(str(len(jobs)))

    def tell(made: running.Made, ended: int) -> None:
        left = (time.monotonic() - began) / ended * (len(jobs) - ended)
        said = f"failed: {made.error}" if made.error else f"{made.status}, {clock(made.seconds)}"
        print(f"{ended:>{width}}/{len(jobs)}  {made.job.arm} seed {made.job.seed}: {said}  ({clock(left)} left)", flush=True)

    made = running.run(jobs, workers, asked.config_dir, tell)
    material = running.material(study, made)
    verdicts = judgement.judge(study.claims, {n: measures.measure(material, claim) for n, claim in study.claims.items()})
    parts = {
        "values": tables.values(study, material),
        "repairs": tables.repairs(study, material),
        "context": tables.effective_context(material),
        "costs": costs.rows(material, study.costs, print) if study.costs else [],
        "information": tables.mutual_information(material, study.information) if study.information else [],
        "key_tokens": tables.key_tokens(study, material),
        "claims": tables.claims(study, verdicts),
    }
    folder = asked.results / report.STUDIES / label
    files.write(folder, parts, _about(study, label, scale, asked, [one.run for one in made]))
    report.write_all(asked.results)
    print("\n" + _said(verdicts))
    print(f"\n{label}: {judgement.of_study(verdicts)} ({clock(time.monotonic() - began)}); {folder / 'summary.md'}", flush=True)


def _about(study: Study, label: str, scale: Scale, asked: Asked, runs: Sequence[str]) -> dict[str, Any]:
    """study.json: the declaration as it was, and what made the runs."""
    from lengthgen.reporting import publication

    made = publication.provenance(records.run(asked.results / "runs" / name) for name in dict.fromkeys(runs))
    flags = {"--scale": asked.scale, "--seeds": asked.seeds}
    words = ["lengthgen", "study", study.name, *(f"{flag} {value}" for flag, value in flags.items() if value), *asked.overrides]
    return {
        "name": study.name, "meaning": study.meaning, "claim": study.claim, "command": " ".join(words),
        "seeds": list(range(scale.seeds)), "shown": study.shown, "axis": study.axis,
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
            v.claim.says,
        )
        for v in verdicts
    ]
    return aligned(("verdict", "kind", "claim", "predicted", "found", "in words"), rows)


def _interval(verdict) -> str:
    return f"{verdict.value:+.4f} [{verdict.low:+.4f}, {verdict.high:+.4f}]"
