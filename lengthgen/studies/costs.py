"""What a subject costs at evaluation: time and memory of a forward pass, with its retrofit, against its arm as it was trained.

Time: CPU seconds of this process (wall seconds on CUDA), one window of the asked length, rounds over all subjects interleaved in one
process, median of the ratios within a round (what else runs on the machine then hits all alike). Memory: the peak of a process of its own
above that process with the model built and run on a short window (bench/child.py).
"""

import contextlib
import ctypes
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lengthgen.bench import child
from lengthgen.studies.losses import Evaluation, Material

ROUNDS = 7


def rows(
    material: Material, at: float, tell: Callable[[str], None] = lambda text: None
) -> list[dict[str, Any]]:
    """COSTS of every subject's first seed. of_trained: time / time of the arm as it was trained; low, high: over the rounds."""
    length = {name: subject.length(at) for name, subject in material.subjects.items()}
    tell(f"costs: {ROUNDS} rounds of {len(length)} forward passes")
    calls = {
        name: forward(subject.evaluations[0], length[name])
        for name, subject in material.subjects.items()
    }
    for call in calls.values():
        call()
    rounds = [{name: _seconds(call) for name, call in calls.items()} for _ in range(ROUNDS)]
    tell("costs: memory, a process for each")
    memory = {
        name: _memory(subject.evaluations[0], length[name])
        for name, subject in material.subjects.items()
    }
    return [_row(name, length[name], rounds, memory) for name in calls]


def forward(evaluation: Evaluation, length: int) -> Callable[[], Any]:
    """A forward pass over one window of `length` tokens: losses of the last token alone, as a reader of the whole window would have."""
    import torch

    from lengthgen.runs import run

    model, splits = run.evaluated_model(evaluation.folder)
    tokens = splits.validation.tokens(0, length + 1)[None].to(model.embedding.weight.device)

    @torch.no_grad()
    def call() -> Any:
        return model.losses(tokens[:, :-1], tokens[:, 1:], length - 1)

    return call


def _seconds(call: Callable[[], Any]) -> float:
    import torch

    on_cuda = torch.cuda.is_available()
    clock = time.perf_counter if on_cuda else time.process_time
    began = clock()
    call()
    if on_cuda:
        torch.cuda.synchronize()
    return clock() - began


def _memory(evaluation: Evaluation, length: int) -> float:
    """MiB."""
    command = [
        sys.executable,
        "-m",
        "lengthgen.studies.costs",
        json.dumps([str(evaluation.folder), length]),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return float("nan")
    found = json.loads(lines[-1])
    return (found["peak"] - found["base"]) / 2**20


def _row(
    name: str, length: int, rounds: list[Mapping[str, float]], memory: Mapping[str, float]
) -> dict[str, Any]:
    arm = name.partition("+")[0]
    ratios = sorted(one[name] / one[arm] for one in rounds)
    return {
        "subject": name, "eval_length": length, "milliseconds": 1000 * statistics.median(one[name] for one in rounds),
        "of_trained": statistics.median(ratios), "low": ratios[0], "high": ratios[-1], "mib": memory[name],
        "mib_of_trained": memory[name] / memory[arm] if memory[arm] else float("nan"), "rounds": len(rounds),
    }  # fmt: skip


def main(folder: str, length: int) -> None:
    """One memory case; prints a line of JSON."""
    from lengthgen.runs import process

    process.prepare_environment()
    process.prepare_torch(1)
    evaluation = Evaluation(Path(folder))
    forward(evaluation, child.SHORT)()
    call = forward(evaluation, length)
    with contextlib.suppress(
        OSError, AttributeError
    ):  # glibc: what a retrofit's search has freed is given back, and counts as new again
        ctypes.CDLL(None).malloc_trim(0)
    import torch

    print(json.dumps(child.measure(call, "cuda" if torch.cuda.is_available() else "cpu")))


if __name__ == "__main__":
    main(*json.loads(sys.argv[1]))
