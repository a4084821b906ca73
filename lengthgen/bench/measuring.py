"""Candidates measured side by side in one process: each is called once a round, in changing order.

A shared machine changes speed by more than the differences of interest, over minutes. Within a
round all candidates meet the same machine, so ratios are taken within rounds, and their median and
quartiles over rounds are reported. Each order is run forwards and then backwards, which cancels a
steady drift, then rotated by one, so that none always follows the same other.

Two clocks: wall time, and the CPU time of the process with all its threads. A busy machine disturbs
CPU time less; but on several threads it counts waiting too, so wall time counts there, and on CUDA
(synchronised before and after).
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from lengthgen.bench.workload import Place
from lengthgen.errors import ConfigError

Quartiles = tuple[float, float, float]  # median, lower quartile, upper quartile
AT_LEAST = 0.2  # seconds in one measurement: shorter calls are repeated


@dataclass(frozen=True)
class Candidate:
    """Something to measure. kind: scheme | peer | ceiling | part."""

    name: str
    kind: str
    call: Callable[[], object]
    tokens: int = 0  # tokens that one call counts for
    flops: float = 0.0  # model FLOPs of one call
    parameters: int = 0  # without tables of positions


@dataclass(frozen=True)
class Sample:
    """One measurement: seconds of one call (a mean if it was repeated)."""

    round: int
    place: int  # in the order of the round
    wall: float
    cpu: float
    peak: int = 0  # bytes on CUDA above what was allocated before; 0 on CPU


@dataclass
class Measured:
    """The samples of every candidate, round by round, and why some have none."""

    candidates: list[Candidate]
    clock: str  # "wall" | "cpu"
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def seconds(self, name: str, clock: str | None = None) -> np.ndarray:
        """Seconds of one call, (rounds,); empty if the candidate was not measured."""
        clock = clock or self.clock
        return np.array([getattr(sample, clock) for sample in self.samples.get(name, [])])

    def ratio(self, above: str, below: str) -> Quartiles | None:
        """Time of `above` / time of `below`, within rounds; None if one was not measured."""
        numerator, denominator = self.seconds(above), self.seconds(below)
        return quartiles(numerator / denominator) if len(numerator) and len(denominator) else None


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def quartiles(values: np.ndarray) -> Quartiles:
    low, middle, high = np.percentile(values, [25, 50, 75])
    return float(middle), float(low), float(high)


def clock_for(asked: str, device: torch.device) -> str:
    """The clock that counts: `auto` is CPU time on one CPU thread, else wall time."""
    if asked == "cpu" and device.type == "cuda":
        raise ConfigError(
            "--clock cpu: the GPU's time is not the process's; give --clock wall or auto"
        )
    if asked != "auto":
        return asked
    return "cpu" if device.type == "cpu" and torch.get_num_threads() == 1 else "wall"


def order(n: int, round_number: int) -> list[int]:
    """Candidates 0..n-1 in the order of a round: each rotation forwards, then backwards."""
    rotated = [(index + round_number // 2) % n for index in range(n)]
    return rotated[::-1] if round_number % 2 else rotated


def interleave(
    candidates: Sequence[Candidate],
    rounds: int,
    device: torch.device,
    clock: str,
    at_least: float = AT_LEAST,
    tell: Callable[[str], None] = tell,
) -> Measured:
    """Warm every candidate up, then run `rounds` rounds.

    A candidate that fails (out of memory, not supported) is left out, with its reason.
    """
    measured = Measured([], clock)
    repeats = {}
    for candidate in candidates:
        try:
            repeats[candidate.name] = _repeats(candidate.call, device, at_least)
        except (RuntimeError, MemoryError, NotImplementedError, AssertionError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            measured.failed[candidate.name] = reason
            tell(f"{candidate.name} is left out: {reason}")
            continue
        measured.candidates.append(candidate)
        measured.samples[candidate.name] = []
    began = time.perf_counter()
    # Candidates take turns: a slow minute of the machine then meets all of them.
    for number in range(rounds):
        for place, index in enumerate(order(len(measured.candidates), number)):
            candidate = measured.candidates[index]
            sample = timed(candidate.call, repeats[candidate.name], device)
            measured.samples[candidate.name].append(Sample(number, place, *sample))
        tell(f"round {number + 1} of {rounds}, {time.perf_counter() - began:.0f} s")
    return measured


def table(
    measured: Measured,
    where: Place,
    columns: Sequence[str],
    cells: Callable[[Candidate, np.ndarray], dict[str, Any]],
    **constant: Any,
) -> list[dict[str, Any]]:
    """One row a candidate, with `columns`; those that failed come last, with their reason.

    cells: what a row adds to the common columns, from a candidate and the seconds of its calls.
    """
    constant = {
        **dict.fromkeys(columns),
        "clock": measured.clock,
        "threads": torch.get_num_threads(),
        "device": where.device.type,
        "precision": where.precision,
        **constant,
    }
    rows = []
    for candidate in measured.candidates:
        samples = measured.samples[candidate.name]
        peak = max(sample.peak for sample in samples)
        common = {
            "candidate": candidate.name,
            "peak_mib": peak / 2**20 if peak else None,
            "rounds": len(samples),
            "status": "ok",
            "reason": "",
        }
        rows.append(constant | common | cells(candidate, measured.seconds(candidate.name)))
    return rows + [
        constant | {"candidate": name, "status": "failed", "reason": reason}
        for name, reason in measured.failed.items()
    ]


def timed(
    call: Callable[[], object], repeats: int, device: torch.device
) -> tuple[float, float, int]:
    """Wall seconds and CPU seconds of one call, and bytes at the peak (0 on CPU)."""
    before, on_cuda = 0, device.type == "cuda"
    if on_cuda:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(repeats):
        call()
    if on_cuda:
        torch.cuda.synchronize(device)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = torch.cuda.max_memory_allocated(device) - before if on_cuda else 0
    return wall / repeats, cpu / repeats, peak


def _repeats(call: Callable[[], object], device: torch.device, at_least: float) -> int:
    """Warm up; how many calls fill one measurement."""
    # The first call also builds what is built once, so its time only says if a second is needed.
    wall, _, _ = timed(call, 1, device)
    if wall < at_least:
        wall, _, _ = timed(call, 1, device)
    return max(1, min(1000, round(at_least / max(wall, 1e-9))))
