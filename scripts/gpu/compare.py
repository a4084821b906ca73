"""How far two runs of the same training are apart: losses by step, and weights.

    compare.py RESULTS RESULTS FILE      the one run in each; differences into a JSON file

Fails if one of the first 8 losses differs by more than 0.00001 nats. Later ones may: as the rate
rises, training magnifies rounding, on two CPU kernels as between CUDA and a CPU.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

FIRST = 8  # steps
LIMIT = 1e-5  # nats


def run_in(results: Path) -> Path:
    """The only run folder under results/runs."""
    folders = [path for path in (results / "runs").iterdir() if (path / "done.json").exists()]
    if len(folders) != 1:
        raise SystemExit(f"{results} holds {len(folders)} finished runs; expected one")
    return folders[0]


def losses(run: Path) -> dict[int, float]:
    """Step -> training loss, of every logged step."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return {row["step"]: row["train/loss"] for row in rows if "train/loss" in row}


def compared(one: Path, other: Path) -> dict[str, Any]:
    """Largest differences over the first FIRST steps and over all, and whether weights are equal.

    Infinite where the runs did not log the same steps, or a loss is no number.
    """
    a, b = losses(one), losses(other)
    if a.keys() != b.keys() or not a:
        differences = {1: math.inf}
    else:
        differences = {step: abs(a[step] - b[step]) for step in a}
    # NaN compares as smaller than anything: it has to count as the largest.
    differences = {k: math.inf if math.isnan(v) else v for k, v in differences.items()}
    weights = [
        json.loads((run / "done.json").read_text(encoding="utf-8"))["weights_sha256"]
        for run in (one, other)
    ]
    return {
        "steps": len(differences),
        "first_steps": FIRST,
        "largest_first": max(v for k, v in differences.items() if k <= FIRST),
        "largest": max(differences.values()),
        "last": differences[max(differences)],
        "by_step": differences,
        "same_weights": weights[0] == weights[1],
    }


def report(found: dict[str, Any], file: Path) -> None:
    file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print("\n".join(f"{name}: {value}" for name, value in found.items() if name != "by_step"))


def main(one: str, other: str, file: str) -> int:
    found = compared(run_in(Path(one)), run_in(Path(other)))
    report(found, Path(file))
    if not found["largest_first"] <= LIMIT:
        print(f"the first {FIRST} losses differ by more than {LIMIT} nats")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
