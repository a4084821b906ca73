"""What a subject costs at evaluation, relative to its arm as it was trained: time and memory.

Time: CPU seconds (wall seconds on CUDA) of one forward pass over a window. Ratios are taken within
a round over all subjects, so that other load on the machine hits all alike. Memory: the peak of a
new process, above that of the same process once it has run a short window (bench/child.py); one
reading, in which equal computations differ by a third: frontier.py counts instead.
"""

import contextlib
import ctypes
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lengthgen.bench import child
from lengthgen.bench import memory as bench
from lengthgen.studies.losses import EvaluatedRun, Material

ROUNDS = 7


def rows(
    material: Material, length_factor: float, log: Callable[[str], None] = lambda text: None
) -> list[dict[str, Any]]:
    """COSTS of the first seed of every subject. low and high of of_trained: over the rounds."""
    evaluations = {name: subject.evaluations[0] for name, subject in material.subjects.items()}
    lengths = {name: subject.length(length_factor) for name, subject in material.subjects.items()}
    log(f"costs: {ROUNDS} rounds of {len(lengths)} forward passes")
    calls = {name: forward(evaluations[name], length) for name, length in lengths.items()}
    for call in calls.values():
        call()
    rounds = [{name: seconds_of(call) for name, call in calls.items()} for _ in range(ROUNDS)]
    log("costs: memory, one process for each")
    memory = {name: _memory(evaluations[name], length) for name, length in lengths.items()}
    return [_row(name, length, rounds, memory) for name, length in lengths.items()]


def forward(evaluation: EvaluatedRun, length: int) -> Callable[[], Any]:
    """A forward pass over one window of `length` tokens, with the loss of its last token alone."""
    import torch

    from lengthgen.runs import stored

    model, splits = stored.evaluated_model(evaluation.folder)
    tokens = splits.validation.tokens(0, length + 1)[None].to(model.embedding.weight.device)

    @torch.no_grad()
    def call() -> Any:
        return model.losses(tokens[:, :-1], tokens[:, 1:], length - 1)

    return call


def seconds_of(call: Callable[[], Any]) -> float:
    """CPU seconds of a call, on CUDA wall seconds."""
    import torch

    on_cuda = torch.cuda.is_available()
    clock = time.perf_counter if on_cuda else time.process_time
    started = clock()
    call()
    if on_cuda:
        torch.cuda.synchronize()
    return clock() - started


def _memory(evaluation: EvaluatedRun, length: int) -> float:
    """MiB; NaN if the process failed."""
    measured = bench.in_process("lengthgen.studies.costs", [str(evaluation.folder), length])
    return (measured["peak"] - measured["base"]) / 2**20 if "peak" in measured else float("nan")


def _row(
    name: str, length: int, rounds: list[dict[str, float]], memory: Mapping[str, float]
) -> dict[str, Any]:
    arm = name.partition("+")[0]
    ratios = sorted(seconds[name] / seconds[arm] for seconds in rounds)
    # Of the first subject, for comparisons across arms; the rounds' median is one of them.
    of_first = sorted(seconds[name] / next(iter(seconds.values())) for seconds in rounds)
    return {
        "subject": name,
        "eval_length": length,
        "milliseconds": 1000 * statistics.median(seconds[name] for seconds in rounds),
        "of_trained": statistics.median(ratios),
        "low": ratios[0],
        "high": ratios[-1],
        "of_first": statistics.median(of_first),
        "of_first_low": of_first[0],
        "of_first_high": of_first[-1],
        "mib": memory[name],
        "mib_of_trained": memory[name] / memory[arm] if memory[arm] else float("nan"),
        "rounds": len(rounds),
    }


def main(folder: str, length: int) -> None:
    """Measure memory in this process, and print it as a line of JSON."""
    from lengthgen.runs import process

    process.prepare_environment()
    process.prepare_torch(1)
    import torch

    evaluation = EvaluatedRun(Path(folder))
    forward(evaluation, child.SHORT)()
    call = forward(evaluation, length)
    # glibc: return what a retrofit's search has freed, so that using it anew counts again.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    print(json.dumps(child.measure(call, "cuda" if torch.cuda.is_available() else "cpu")))


if __name__ == "__main__":
    main(*json.loads(sys.argv[1]))
