"""A training that is stopped midway and resumed, beside the same one uninterrupted.

    stop_and_resume.py RESULTS -- OVERRIDES ...      of `lengthgen train`, log_every=1 among them

Writes RESULTS/compared.json. On a CPU both must be the same bit for bit; on CUDA sums in a changing
order make last digits differ, so there it fails at 0.01 nats in the last loss.
"""

import subprocess
import sys
import time
from pathlib import Path

import compare

LIMIT = 1e-2  # nats, on CUDA
STOPPED = 143  # exit code of `lengthgen train` after SIGTERM


def train(results: Path, overrides: list[str]) -> list[str]:
    return [sys.executable, "-m", "lengthgen", "train", *overrides, f"results={results}"]


def stop_midway(command: list[str], results: Path, steps: int) -> int:
    """Send SIGTERM when half of the steps are logged. Returns the exit code."""
    process = subprocess.Popen(command)
    while process.poll() is None:
        logged = [path.read_text().count("\n") for path in results.glob("runs/*/metrics.jsonl")]
        if logged and logged[0] >= steps // 2:
            process.terminate()
            break
        time.sleep(0.01)
    return process.wait()


def main(results: Path, overrides: list[str]) -> int:
    steps = int(next(word for word in overrides if word.startswith("steps=")).partition("=")[2])
    whole, parted = results / "whole", results / "parted"
    subprocess.run(train(whole, overrides), check=True)
    code = stop_midway(train(parted, overrides), parted, steps)
    if code != STOPPED:
        print(f"not stopped midway: exit code {code}, expected {STOPPED}")
        return 1
    subprocess.run(train(parted, overrides), check=True)
    found = compare.compared(compare.run_in(whole), compare.run_in(parted))
    compare.report(found, results / "compared.json")
    same = found["same_weights"] and found["largest"] == 0
    if "device=cpu" in overrides:
        print("the same bits" if same else "NOT the same bits")
        return 0 if same else 1
    return 0 if found["last"] <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[sys.argv.index("--") + 1 :]))
