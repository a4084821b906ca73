"""The pass marks: how fast and how small lengthgen has to be beside other ways and other libraries.

A mark compares two candidates of one measurement. `times`: time of ours / time of the other, at
most the bound; `speeds`: tokens/s of ours / tokens/s of the other, at least the bound. Ratios are
medians of ratios within rounds. `flops_ratio` is the same ratio of what the two compute, by formula
(flops.py), where that is counted.

Measurements: `train` (our schemes and the plain GPT), `train peers` (other libraries), `train
longer` (those at Shape.longer), `evaluate`, `share`, and the groups of attention.py.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lengthgen.bench.measuring import Measured, Quartiles

COLUMNS = (
    "bench", "what", "measured", "low", "high", "flops_ratio", "pass_mark", "verdict", "reason",
)  # fmt: skip
BIASED = ("alibi", "t5_bias", "kerple_log", "sandwich", "per_offset")
SCHEMES = ("none", "learned", "rope", *BIASED, "fire")  # what the marks need of training
PEER_SCHEMES = ("none", "rope", "alibi", "t5_bias")  # what stands beside other libraries
LONGER_SCHEMES = ("none", "alibi", "t5_bias")
LONGER_PEERS = ("x_transformers_alibi", "x_transformers_alibi_flash", "x_transformers_t5")
GRID_SCHEMES = ("none", "alibi")  # measured with separate passes too
SHARE_SCHEMES = ("none", "learned", "alibi", "t5_bias")


@dataclass(frozen=True)
class Mark:
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

    def passed_by(self, ratio: float) -> bool:
        return ratio >= self.bound if self.kind == "speeds" else ratio <= self.bound


_AT_LENGTHS = (
    ("attention_training", "learned bias", "learned bias, dense strided", {512: 0.45, 1024: 0.3}),
    ("attention_training", "learned bias", "is_causal", {512: 1.6, 1024: 1.6}),
    ("attention_training", "fixed bias", "is_causal", {512: 1.1, 1024: 1.25}),
    ("attention_evaluation", "fixed bias", "is_causal", {2048: 1.5, 4096: 1.5}),
    ("attention_evaluation", "fixed bias", "fixed bias, dense gather", {2048: 0.35, 4096: 0.35}),
    ("crops", "crops", "nanogpt_style get_batch", {512: 0.2}),
)
ATTENTION = tuple(
    Mark(f"{bench} L{length}", ours, other, bound, "times")
    for bench, ours, other, bounds in _AT_LENGTHS
    for length, bound in bounds.items()
)
MEMORY = Mark("attention_memory L1024", "learned bias", "learned bias, dense gather", 0.35, "times")
TRAINING = (
    *(
        Mark("train", scheme, "nanogpt_style", 1.0 if scheme in ("none", "learned") else 0.88)
        for scheme in SCHEMES
    ),
    *(Mark("train", scheme, "none", 0.9) for scheme in BIASED),
    Mark("train", "fire", "none", 0.7),
    Mark("train", "rope", "none", 0.93),
    Mark("train peers", "t5_bias", "x_transformers_t5", 2.3),
    Mark("train peers", "alibi", "x_transformers_alibi", 2.3),
    Mark("train peers", "alibi", "x_transformers_alibi_flash", 1.3),
    Mark("train peers", "rope", "x_transformers_rotary", 1.05),
    Mark("train peers", "alibi", "transformers_bloom", 1.8),
)
LONGER = (
    Mark("train longer", "t5_bias", "x_transformers_t5", 3.0),
    Mark("train longer", "alibi", "x_transformers_alibi_flash", 1.4),
)
EVALUATION = tuple(
    Mark("evaluate", scheme, f"{scheme}, separate passes", 0.4, "times") for scheme in GRID_SCHEMES
)
SHARE = tuple(
    Mark("share", f"{scheme}, evaluation", "the whole run", 0.15, "times")
    for scheme in SHARE_SCHEMES
)


def judge(
    marks: Iterable[Mark], measured: Mapping[str, Measured], judged: bool = True
) -> list[dict[str, Any]]:
    """One row a mark, with COLUMNS. verdict: pass | fail | not measured.

    judged=False, for another shape than the mark's: the verdict is `measured`.
    """
    rows = []
    for mark in marks:
        of_bench = measured.get(mark.bench)
        rows.append(
            judge_value(mark, *_ratio(mark, of_bench), judged, _flops_ratio(mark, of_bench))
        )
    return rows


def judge_value(
    mark: Mark,
    ratio: Quartiles | tuple[float, None, None] | None,
    reason: str,
    judged: bool = True,
    flops_ratio: float | None = None,
) -> dict[str, Any]:
    """The row of a mark whose ratio (value, lower and upper quartile) is known."""
    value, low, high = ratio or (None, None, None)
    verdict = "measured" if value is not None else "not measured"
    if value is not None and judged:
        verdict = "pass" if mark.passed_by(value) else "fail"
    cells = (
        mark.bench, mark.what, value, low, high, flops_ratio, mark.condition, verdict, reason,
    )  # fmt: skip
    return dict(zip(COLUMNS, cells, strict=True))


def _ratio(mark: Mark, measured: Measured | None) -> tuple[Quartiles | None, str]:
    if measured is None:
        return None, f"`{mark.bench}` was not run"
    # Tokens/s are the inverse of time.
    names = (mark.ours, mark.other) if mark.kind == "times" else (mark.other, mark.ours)
    ratio = measured.ratio(*names)
    if ratio is not None:
        return ratio, ""
    absent = next(name for name in (mark.ours, mark.other) if name not in measured.samples)
    return None, measured.failed.get(absent, f"{absent} was not run")


def _flops_ratio(mark: Mark, measured: Measured | None) -> float | None:
    """FLOPs of one call of ours / of the other; None where they are not counted."""
    flops = {c.name: c.flops for c in measured.candidates} if measured else {}
    ours, other = flops.get(mark.ours), flops.get(mark.other)
    return ours / other if ours and other else None
