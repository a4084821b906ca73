"""How far the losses of the same evaluations are apart, made on two devices.

    compare_evaluations.py RESULTS RESULTS FILE      differences into a JSON file

Fails if a mean loss differs by more than 0.0001 nats.
"""

import csv
import json
import math
import sys
from pathlib import Path

LIMIT = 1e-4  # nats


def losses(results: Path) -> dict[tuple[str, str, str], float]:
    """(scheme with its retrofit, protocol, length) -> mean loss in nats."""
    found = {}
    for table in results.glob("runs/*/evaluation/*/lengths.csv"):
        with open(table, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row["metric"] == "loss":
                    key = row["scheme"], row["protocol"], row["eval_length"]
                    found[key] = float(row["value"] or "nan")
    return found


def main(one: str, other: str, file: str) -> int:
    a, b = losses(Path(one)), losses(Path(other))
    if not a or a.keys() != b.keys():
        print(f"{len(a)} and {len(b)} losses, of other evaluations or of none")
        return 1
    apart = {" ".join(key): abs(a[key] - b[key]) for key in sorted(a)}
    Path(file).write_text(json.dumps(apart, indent=2) + "\n", encoding="utf-8")
    largest = max(math.inf if math.isnan(value) else value for value in apart.values())
    print(f"{len(apart)} losses; largest difference {largest:.2e} nats (limit {LIMIT})")
    return 0 if largest <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
