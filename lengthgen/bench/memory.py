"""Peak memory, each case in its own process: evaluating one long document, and attention alone.

What counts is the peak above the process with its model built and warm; the whole peak stands
beside it.
"""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from lengthgen.bench.measuring import tell
from lengthgen.bench.workload import SIZES, Place, Shape

COLUMNS = (
    "bench", "candidate", "status", "above_mib", "of_none", "peak_mib", "base_mib", "seconds",
    "tokens", "threads", "device", "precision", *SIZES, "reason",
)  # fmt: skip
SHOWN = ("candidate", "above_mib", "of_none", "peak_mib", "base_mib", "seconds", "status")
ATTENTION = (4, 8, 1024, 32)  # B, H, L, D


def evaluation_rows(
    shape: Shape, names: Sequence[str], tokens: int, where: Place, threads: int | None
) -> list[dict[str, Any]]:
    """One row a scheme, with COLUMNS; `of_none`: the ratio of what each needs above its base."""
    sizes = dataclasses.asdict(shape)
    constant = {
        **dict.fromkeys(COLUMNS),
        "bench": "memory",
        "tokens": tokens,
        "threads": threads,
        "device": where.device.type,
        "precision": where.precision,
        **sizes,
    }
    rows: list[dict[str, Any]] = []
    for name in names:
        job = {"case": "evaluate", "scheme": name, "shape": sizes, "tokens": tokens}
        result = run(job, where, threads)
        tell(f"{name}: {result.get('seconds', 0):.1f} s")
        rows.append(constant | {"candidate": name} | _in_mib(result))
    base = next((row["above_mib"] for row in rows if row["candidate"] == "none"), None)
    for row in rows:
        if base and row["above_mib"] is not None:
            row["of_none"] = row["above_mib"] / base
    return [{column: row[column] for column in COLUMNS} for row in rows]


def attention_ratio(where: Place, threads: int | None, scale: int = 1) -> tuple[float | None, str]:
    """What a learned bias needs / what it needs as a dense mask; and the two in words."""
    B, H, L, D = ATTENTION
    shape = [B, H, L // scale, D]
    ours, dense = (
        run({"case": "attention", "kind": kind, "shape": shape}, where, threads)
        for kind in ("learned", "dense")
    )
    if "base" not in ours or "base" not in dense:
        return None, ours.get("reason") or dense.get("reason", "")
    above = [result["peak"] - result["base"] for result in (ours, dense)]
    return above[0] / max(above[1], 1), f"{above[0] / 2**20:.0f} of {above[1] / 2**20:.0f} MiB"


def run(job: dict[str, Any], where: Place, threads: int | None) -> dict[str, Any]:
    """What the child reports: base and peak in bytes, seconds, status, reason."""
    job = job | dataclasses.asdict(where) | {"device": where.device.type, "threads": threads}
    return in_process("lengthgen.bench.child", job)


def in_process(module: str, job: object) -> dict[str, Any]:
    """The line of JSON that `python -m module JOB` prints.

    For a process that dies: the status failed, with its last line as the reason.
    """
    command = [sys.executable, "-m", module, json.dumps(job)]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        words = done.stderr.strip().splitlines() or [""]
        reason = f"the process ended with {done.returncode}: {words[-1]}"[:300]
        return {"status": "failed", "reason": reason}
    return json.loads(lines[-1])


def _in_mib(result: dict[str, Any]) -> dict[str, Any]:
    if "base" not in result:
        return result
    mib = {"base_mib": result["base"] / 2**20, "peak_mib": result["peak"] / 2**20}
    measured = result["status"] == "ok"
    return result | mib | {"above_mib": mib["peak_mib"] - mib["base_mib"] if measured else None}
