"""The pass marks: P1-P10 of references/performance.md, section 6, what issue 3 asks of training speed (I1), and what an evaluation may take
of a default run (E1). Data, and one judgement.

A mark compares two candidates of one measurement. `times`: time of ours / time of the other, at most the bound;
`speeds`: tokens/s of ours / tokens/s of the other, at least the bound. Ratios are medians of ratios within rounds.
Beside each stands `flops_ratio`, the same ratio of what the two compute, by formula (flops.py), where it is counted.
Measurements are named by benchmark: `train` (our schemes and the plain GPT), `train peers` (other libraries), `train longer` (the same at
Shape.longer), `evaluate`, and the groups of attention.py.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lengthgen.bench.measuring import Measured

COLUMNS = (
    "mark",
    "bench",
    "what",
    "measured",
    "low",
    "high",
    "flops_ratio",
    "pass_mark",
    "verdict",
    "reason",
)
BIASED = ("alibi", "t5_bias", "kerple_log", "sandwich", "per_offset")
SCHEMES = ("none", "learned", "rope", *BIASED, "fire")  # what the marks need of training
PEER_SCHEMES = ("none", "rope", "alibi", "t5_bias")  # what stands beside other libraries
LONGER_SCHEMES = ("none", "alibi", "t5_bias")
LONGER_PEERS = ("x_transformers_alibi", "x_transformers_alibi_flash", "x_transformers_t5")
GRID_SCHEMES = ("none", "alibi")  # P7
SHARE_SCHEMES = ("none", "learned", "alibi", "t5_bias")  # E1


@dataclass(frozen=True)
class Mark:
    id: str
    bench: str
    ours: str
    other: str
    bound: float
    kind: str = "speeds"  # speeds | times

    @property
    def what(self) -> str:
        return f"{'tokens/s' if self.kind == 'speeds' else 'time'} of {self.ours} / {self.other}"

    @property
    def condition(self) -> str:
        return f"{'≥' if self.kind == 'speeds' else '≤'} {self.bound:g}"


def _of_peers(bench: str, id: str, bounds: Mapping[tuple[str, str], float]) -> tuple[Mark, ...]:
    return tuple(Mark(id, bench, ours, other, bound) for (ours, other), bound in bounds.items())


ATTENTION = (
    Mark(
        "P1",
        "attention_training L512",
        "learned bias",
        "learned bias, dense strided",
        0.45,
        "times",
    ),
    Mark(
        "P1",
        "attention_training L1024",
        "learned bias",
        "learned bias, dense strided",
        0.30,
        "times",
    ),
    Mark("P2", "attention_training L512", "learned bias", "is_causal", 1.6, "times"),
    Mark("P2", "attention_training L1024", "learned bias", "is_causal", 1.6, "times"),
    Mark("P3", "attention_training L512", "fixed bias", "is_causal", 1.1, "times"),
    Mark("P3", "attention_training L1024", "fixed bias", "is_causal", 1.25, "times"),
    Mark("P8", "attention_evaluation L2048", "fixed bias", "is_causal", 1.5, "times"),
    Mark("P8", "attention_evaluation L4096", "fixed bias", "is_causal", 1.5, "times"),
    Mark(
        "P8", "attention_evaluation L2048", "fixed bias", "fixed bias, dense gather", 0.35, "times"
    ),
    Mark(
        "P8", "attention_evaluation L4096", "fixed bias", "fixed bias, dense gather", 0.35, "times"
    ),
    Mark("P9", "crops L512", "crops", "nanogpt_style get_batch", 0.2, "times"),
)
MEMORY = Mark(
    "P10", "attention_memory L1024", "learned bias", "learned bias, dense gather", 0.35, "times"
)
TRAINING = (
    *(Mark("P4", "train", scheme, "nanogpt_style", 0.88) for scheme in SCHEMES),
    *_of_peers("train peers", "P5", {("t5_bias", "x_transformers_t5"): 2.2, ("alibi", "x_transformers_alibi_flash"): 1.2,
                               ("rope", "x_transformers_rotary"): 1.05}),
    Mark("P6", "train peers", "alibi", "transformers_bloom", 1.8),
    *(Mark("I1", "train", scheme, "none", 0.9) for scheme in BIASED),
    Mark("I1", "train", "fire", "none", 0.7),
    Mark("I1", "train", "rope", "none", 0.93),
    *(Mark("I1", "train", scheme, "nanogpt_style", 1.0) for scheme in ("none", "learned")),
    *_of_peers("train peers", "I1", {("t5_bias", "x_transformers_t5"): 2.3, ("alibi", "x_transformers_alibi"): 2.3,
                               ("alibi", "x_transformers_alibi_flash"): 1.3, ("rope", "x_transformers_rotary"): 1.05}),
)  # fmt: skip
LONGER = (
    *_of_peers(
        "train longer",
        "P5",
        {("t5_bias", "x_transformers_t5"): 3.0, ("alibi", "x_transformers_alibi_flash"): 1.4},
    ),
    *_of_peers("train longer", "I1", {("t5_bias", "x_transformers_t5"): 3.0}),
)
EVALUATION = tuple(
    Mark("P7", "evaluate", scheme, f"{scheme}, separate passes", 0.4, "times")
    for scheme in GRID_SCHEMES
)
SHARE = tuple(
    Mark("E1", "share", f"{scheme}, evaluation", "the whole run", 0.15, "times")
    for scheme in SHARE_SCHEMES
)


def judge(
    marks: Iterable[Mark], measured: Mapping[str, Measured], judged: bool = True
) -> list[dict[str, Any]]:
    """One row a mark, with COLUMNS. verdict: pass | fail | not measured; judged=False (another shape than the mark's): measured."""
    found = ((mark, measured.get(mark.bench)) for mark in marks)
    return [
        _row(mark, *_ratio(mark, of_bench), judged, _flops_ratio(mark, of_bench))
        for mark, of_bench in found
    ]


def judge_value(
    mark: Mark,
    ratio: tuple[float, float | None, float | None] | None,
    reason: str,
    judged: bool = True,
) -> dict[str, Any]:
    """The row of a mark whose ratio (value, lower and upper quartile) is no ratio of two candidates."""
    return _row(mark, ratio, reason, judged)


def _ratio(mark: Mark, measured: Measured | None) -> tuple[tuple | None, str]:
    if measured is None:
        return None, f"`{mark.bench}` was not run"
    ratio = (
        measured.ratio(mark.ours, mark.other)
        if mark.kind == "times"
        else measured.ratio(mark.other, mark.ours)
    )
    if ratio is not None:
        return ratio, ""
    absent = next(name for name in (mark.ours, mark.other) if name not in measured.samples)
    return None, measured.failed.get(absent, f"{absent} was not run")


def _flops_ratio(mark: Mark, measured: Measured | None) -> float | None:
    """FLOPs of one call of ours / of the other; None where they are not counted."""
    counted = (
        {candidate.name: candidate.flops for candidate in measured.candidates} if measured else {}
    )
    ours, other = counted.get(mark.ours), counted.get(mark.other)
    return ours / other if ours and other else None


def _row(
    mark: Mark, ratio: tuple | None, reason: str, judged: bool, flops_ratio: float | None = None
) -> dict[str, Any]:
    middle, low, high = ratio or (None, None, None)
    if middle is None:
        verdict = "not measured"
    elif not judged:
        verdict = "measured"
    else:
        verdict = (
            "pass"
            if (middle >= mark.bound if mark.kind == "speeds" else middle <= mark.bound)
            else "fail"
        )
    return {
        "mark": mark.id, "bench": mark.bench, "what": mark.what, "measured": middle, "low": low, "high": high,
        "flops_ratio": flops_ratio, "pass_mark": mark.condition, "verdict": verdict, "reason": reason,
    }  # fmt: skip
