"""One memory case, a process: `python -m lengthgen.bench.child '{...}'` prints one JSON line.

The peak above a baseline, taken once everything is imported, built and run on a short window. On
Linux it is VmHWM, reset at the baseline: getrusage's ru_maxrss survives exec, so that it would show
the parent's memory, and cannot be reset. Elsewhere it is ru_maxrss; on CUDA, torch's allocations.

Cases: {"case": "evaluate", scheme, shape, tokens} scores a document of `tokens` tokens as one
window; {"case": "attention", kind: "learned" | "dense", shape: [B, H, L, D]} runs one forward and
backward with a learned bias; {"case": "prefill", arm, shape, batch, tokens} reads prompts into a
cache, whose own bytes stand beside the peak.
"""

import contextlib
import json
import re
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from lengthgen.runs import process

SHORT = 64  # tokens of the window that loads what is loaded at the first call


def _reset_peak() -> None:
    with contextlib.suppress(OSError):  # the peak so far then is the baseline
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak() -> int:
    """In bytes."""
    with contextlib.suppress(OSError):
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        if line := re.search(r"^VmHWM:\s+(\d+)", status, re.MULTILINE):
            return int(line[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measure(call: Callable[[], object], device: str) -> dict:
    """Run `call` once: bytes before, bytes at the peak, seconds."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        base = torch.cuda.memory_allocated()
    else:
        _reset_peak()
        base = _peak()
    began = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - began
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else _peak()
    return {"base": base, "peak": peak, "seconds": seconds}


def _evaluate(job: dict) -> dict:
    from lengthgen.bench import throughput, workload
    from lengthgen.evaluation.protocols import EvaluationConfig, plan
    from lengthgen.evaluation.scoring import Scored

    where = workload.place(job["device"], job["precision"], job["kernel"], job["linear"])
    shape, tokens = workload.Shape(**job["shape"]), job["tokens"]
    model = workload.build(job["scheme"], shape, where)

    def prepared(length: int) -> throughput.Evaluation:
        config = EvaluationConfig(lengths=[length], protocols=["position"], documents=1, blocks=1)
        store = workload.random_store(1, length + 1, shape.vocab)
        requests = plan(store.lengths, store.names, [length], shape.length, config)
        return throughput.Evaluation(store, requests, config)

    short, long = prepared(min(SHORT, tokens)), prepared(tokens)
    # Loads what the first call loads, so that it counts to the baseline.
    short.score(model, short.requests, where)
    scored: list[Scored] = []
    measured = measure(
        lambda: scored.extend(long.score(model, long.requests, where)), where.device.type
    )
    return measured | {"status": scored[0].status, "reason": scored[0].reason}


def _attention(job: dict) -> dict:
    from lengthgen.bench import attention, workload

    where = workload.place(job["device"], job["precision"])
    name = {"learned": "learned bias", "dense": "learned bias, dense gather"}[job["kind"]]
    B, H, L, D = job["shape"]

    def call(length: int) -> Callable[[], object]:
        group = attention.training_group((B, H, length, D), where)
        return next(candidate.call for candidate in group.candidates if candidate.name == name)

    call(min(SHORT, L))()
    return measure(call(L), where.device.type) | {"status": "ok", "reason": ""}


def _prefill(job: dict) -> dict:
    from lengthgen.bench import decode, workload

    where = workload.place(job["device"], job["precision"], job["kernel"], job["linear"])
    shape, batch, tokens = workload.Shape(**job["shape"]), job["batch"], job["tokens"]
    model = decode.build(job["arm"], shape, where)
    decode.prefilled(model, decode.prompts(shape, batch, min(SHORT, tokens), where), where)
    prompts, caches = decode.prompts(shape, batch, tokens, where), []
    measured = measure(
        lambda: caches.append(decode.prefilled(model, prompts, where).cache), where.device.type
    )
    return measured | {"cache": caches[0].nbytes, "status": "ok", "reason": ""}


def main(job: dict) -> None:
    """Run one job and print what it took."""
    process.prepare_environment()
    process.prepare_torch(job["threads"])
    cases = {"evaluate": _evaluate, "attention": _attention, "prefill": _prefill}
    print(json.dumps(cases[job["case"]](job)))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
