"""The segments of a training: what computed its steps, before and after each interruption.

A training that resumes where everything is as it was computes the same bits. Where something that
decides bits is another (threads, a kernel, a version, the code), its steps go on, provenance.json
gains a segment, and the run is mixed: its numbers hold, but no one command gives the same bits.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from lengthgen import __version__, files
from lengthgen.evaluation import records
from lengthgen.runs.folder import RunFolder
from lengthgen.runs.prepare import Run
from lengthgen.runs.step_plan import StepPlan

log = logging.getLogger(__name__)
BEFORE = {"ranks": 1, "sharding": "none"}  # of segments that do not name them
TOGETHER = "together"  # a condition: steps that were computed with those of other runs


def describe(run: Run, plan: StepPlan, kernels: Sequence[str], linear: str) -> dict[str, Any]:
    """What decides the bits of a step besides the run's identity. kernels: one a layer."""
    return {
        "device": torch.cuda.get_device_name(run.device) if run.device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "lengthgen": __version__,
        "code": source_hash(),
        "kernels": sorted(set(kernels)),
        "linear": linear,
        "ranks": run.ranks.size,
        "sharding": run.config.settings.sharding if run.ranks.size > 1 else "none",
        "compile": plan.compile,
        "accumulate": plan.accumulate,
    }


def begin(folder: RunFolder, step: int, described: Mapping[str, Any]) -> None:
    """Note that the steps after `step` are computed so; a warning where it was otherwise before."""
    noted = files.read_json(folder.provenance, {}).get(records.SEGMENTS, [])
    kept = [each for each in noted if each["after_step"] < step]
    before = kept[-1] if kept else described
    names = [*described, *(name for name in before if name not in (*described, "after_step"))]
    changed = [name for name in names if before.get(name, BEFORE.get(name)) != described.get(name)]
    if changed:
        words = (
            f"{name} {_short(before.get(name))} -> {_short(described.get(name))}"
            for name in changed
        )
        log.warning(
            "resuming under other conditions (%s): the steps to come may differ in their last bits "
            "from those of an uninterrupted run; provenance.json lists the segments",
            "; ".join(words),
        )
    segments = kept if kept and not changed else [*kept, {"after_step": step, **described}]
    if segments != noted:
        folder.note({records.SEGMENTS: segments})


@cache
def source_hash() -> str:
    """A hash over the package's sources: other code may compute other bits."""
    root = Path(__file__).resolve().parents[1]
    total = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        total.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:12]


def _short(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
