"""What came back from a GPU, into results/: runs, published tables and figures, benchmarks."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from gpu import steps

TABLES = {".csv", ".md", ".json", ".svg", ".png"}


class Refused(Exception):
    """One line: why nothing is published."""


def merge(out: Path, results: Path, tiny: bool) -> list[Path]:
    """Copy and publish what `out` holds. Returns the files and folders written. Refused.

    tiny: a rehearsal, which goes nowhere else than into its own folder.
    """
    try:
        about = json.loads((out / "about.json").read_text(encoding="utf-8"))
    except OSError:
        raise Refused(f"{out.name} holds no results of gpu_run (no about.json)") from None
    if about["dry_run"] and not tiny:
        raise Refused(f"{out.name} is a rehearsal (--dry-run): nothing of it is published")
    if tiny and not about["dry_run"]:
        raise Refused(f"{out.name} is no rehearsal; leave --dry-run out")
    written: list[Path] = []
    for part, name in (("A", "gpu_check"), ("B", "gpu_bench")):
        if (out / part).is_dir():
            written += _tables(out / part, results / name)
    return written + _publish(_runs(out / "results", results), results)


def _tables(source: Path, target: Path) -> Iterator[Path]:
    """The tables of a part, each benchmark in its folder, and a page of how every step ended."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted([*source.glob("*"), *source.glob("*/*")]):
        if path.is_file() and path.suffix in TABLES:
            copy = target / path.relative_to(source)
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, copy)
            yield copy
    page = target / "steps.md"
    page.write_text("\n".join(_page(source)) + "\n", encoding="utf-8")
    yield page


def _page(source: Path) -> Iterator[str]:
    yield f"# scripts/gpu_run {source.name}\n"
    facts = source.parent / "A" / "facts.json"
    if facts.exists():
        about = json.loads(facts.read_text(encoding="utf-8"))
        yield "\n".join(f"- {name}: {value}" for name, value in about.items() if name != "commit")
    yield "\n| step | outcome | seconds | commit | commands |\n|---|---|---|---|---|"
    for file in sorted([*source.glob("*.done"), *source.glob("*.failed")]):
        step = json.loads(file.read_text(encoding="utf-8"))
        # Without the folders of the machine that ran them.
        commands = "; ".join(
            " ".join(os.path.basename(word) if word.startswith("/") else word for word in c.split())
            for c in step["commands"]
        )
        outcome = f"failed: {step['reason']}" if step["reason"] else "done"
        cells = (file.stem, outcome, str(step["seconds"]), step["commit"][:9], f"`{commands}`")
        yield f"| {' | '.join(cells)} |"


def _runs(source: Path, results: Path) -> list[Path]:
    """Copy the finished runs that `results` does not have. Returns all of them, there."""
    copied = []
    for folder in sorted(path.parent for path in source.glob("runs/*/done.json")):
        target = results / "runs" / folder.name
        if not (target / "done.json").exists():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(folder, target, ignore=shutil.ignore_patterns("checkpoints", ".*"))
        copied.append(target)
    return copied


def _publish(runs: list[Path], results: Path) -> list[Path]:
    """One folder for each setting: the seeds that have every scheme, else all that there are."""
    groups: dict[str, list[dict[str, str]]] = defaultdict(list)
    for run in runs:
        for table in run.glob("evaluation/*/lengths.csv"):
            with open(table, newline="", encoding="utf-8") as file:
                row = next(csv.DictReader(file))
            groups[row["setting"]].append(row)
    published = []
    for setting, rows in sorted(groups.items()):
        name = f"gpu_{rows[0]['model']}_{rows[0]['train_length']}"
        if len(groups) > 1:
            name += f"_{setting}"
        seeds, schemes = whole_seeds(rows)
        where = [f"setting={setting}", f"seed={','.join(seeds)}", f"scheme={','.join(schemes)}"]
        command = [sys.executable, "-m", "lengthgen", "plot", "--results", str(results)]
        path = os.pathsep.join([str(steps.ROOT), os.environ.get("PYTHONPATH", "")])
        subprocess.run(
            [*command, "--publish", name, "--where", *where],
            check=True, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        published.append(results / name)
    return [*runs, *published]


def whole_seeds(rows: list[dict[str, str]]) -> tuple[list[str], list[str]]:
    """(seeds, schemes): the seeds that have every scheme that any seed has, else all seeds."""
    schemes = sorted({row["scheme"] for row in rows})
    of_seed: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        of_seed[row["seed"]].add(row["scheme"])
    whole = [seed for seed, has in of_seed.items() if len(has) == len(schemes)]
    return sorted(whole or of_seed, key=int), schemes
