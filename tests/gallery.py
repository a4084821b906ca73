"""Every kind of figure, drawn from invented tables that are hard to draw.

Lengths to 1,048,576, a factor of 1.46484, names of 40 letters and of ideographs.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from lengthgen.bench import figure as bench_figure
from lengthgen.diagnostics import figures as diagnostics_figures
from lengthgen.diagnostics.findings import Table
from lengthgen.reporting import tables
from lengthgen.reporting.figures import by_length, by_position, verdict_figure
from lengthgen.reporting.figures.look import Look
from lengthgen.reporting.figures.sheet import Sheet
from lengthgen.studies import bias_figure, claims_figure, costs_figure, figure
from lengthgen.studies.parts import Figure

from .fake_runs import write_runs

LONG = "a_scheme_of_mine_with_a_name_of_forty_le"
IDEOGRAPHS = "相対位置バイアス"
RENAMED = {"none": "rope+yarn", "sinusoidal": LONG, "learned(tail=clamp)": IDEOGRAPHS}
TRAINED = 262_144
LENGTHS = dict(
    zip(
        (256, 512, 640, 768, 1024, 1536, 2048),
        (131_072, TRAINED, 384_000, 524_288, 786_432, 917_504, 1_048_576),
        strict=True,
    )
)
SCHEMES = ("t5_bias", "alibi", "none", "rope", "sinusoidal", "learned(tail=clamp)", "learned")
IDENTITY = {"scheme": "t5_bias", "seed": 0, "dataset": "python", "model": "tiny"}


@cache
def measured() -> tuple[pd.DataFrame, pd.DataFrame]:
    """(summary of matched losses, bins by position) of seven schemes."""
    with TemporaryDirectory() as folder:
        write_runs(Path(folder), SCHEMES, n_documents=6)
        found = tables.collect(Path(folder))
    summary = tables.summarise(found.documents, found.lengths)
    summary = summary[summary["protocol"] == "matched"].copy()
    bins = tables.positions_over_seeds(found.positions)
    for table in (summary, bins):
        table["scheme"] = table["scheme"].replace(RENAMED)
        table["eval_length"] = table["eval_length"].replace(LENGTHS)
    summary["train_length"], summary["bigram"] = TRAINED, 2.2
    for column in ("position", "position_end"):
        bins[column] = bins[column] * 512
    return summary, bins


def loss_by_length(look: Look) -> Sheet:
    return by_length.loss_by_length(measured()[0], look=look)


def exact_match(look: Look) -> Sheet:
    shares = {"exact_match": 0.5, "exact_match_low": 0.3, "exact_match_high": 0.7}
    return by_length.exact_match_by_length(measured()[0].assign(**shares), look)


def position(look: Look) -> Sheet:
    summary, bins = measured()
    return by_position.loss_by_position(bins, summary, look)


def verdicts(look: Look) -> Sheet:
    words = ("fails", "tolerates", "uses", "undecided", "untrained", "refused")
    rows = [
        {
            "scheme": scheme, "eval_length": length, "word": words[(i + j) % len(words)],
            "failure": 3.0 * i - 0.1, "failure_low": 3.0 * i - 0.3, "failure_high": 3.0 * i + 0.2,
            "use_hard_window": 0.1, "n_seeds": 3, "n_documents": 48, "gate": "",
            "train_length": TRAINED, "dataset": "python", "model": "tiny",
        }
        for i, scheme in enumerate(("t5_bias", "alibi", LONG, IDEOGRAPHS))
        for j, length in enumerate((384_000, 1_048_576))
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    numbers = ["failure", "failure_low", "failure_high"]
    table.loc[table["word"] == "refused", numbers] = np.nan
    return verdict_figure.draw(table, 1234, look)


def _row(subject: str, scheme: str, length: int, value: float, **given) -> dict:
    fine = {
        "subject": subject, "scheme": scheme, "dataset": "text", "train_length": TRAINED,
        "tokens": 1000, "protocol": "matched", "eval_length": length, "measure": "loss",
        "value": value, "low": value - 0.1, "high": value + 0.1, "status": "ok", "n_seeds": 3,
        "n_documents": 9,
    }  # fmt: skip
    return fine | given


def _values(**given) -> list[dict]:
    arms = {
        "t5_bias": "t5_bias", "rope": "rope", "rope+yarn": "rope",
        "rope+position_interpolation": "rope", LONG: "alibi", IDEOGRAPHS: "fire",
    }  # fmt: skip
    return [
        _row(subject, scheme, length, 1.0 + i * (j + 1) / 4, **given)
        for i, (subject, scheme) in enumerate(arms.items())
        for j, length in enumerate((TRAINED, 384_000, 1_048_576))
    ]


def study(look: Look) -> Sheet:
    notes = [_row("rope", "rope", n, 2.2, measure="bigram") for n in (TRAINED, 1_048_576)]
    values = [*_values(), *notes, *_values(dataset="records")]
    return figure.draw("a_study: what was asked", "3 seeds.", values, Figure(), look=look)


def study_excess(look: Look) -> Sheet:
    wide = [row | {"value": row["value"] - 0.99, "low": 0.005} for row in _values(measure="excess")]
    return figure.draw("a_study: what was asked", "", wide, Figure(show="excess"), look=look)


def claims(look: Look) -> Sheet:
    kinds = [
        ("supported", "below 0.5", 0.2, 0.1, 0.3), ("refuted", "within 0.005", -2.1, -2.6, -1.5),
        ("undecided", "above 0.01", 0.0104, 0.0002, np.nan),
        ("not answerable", "above 0", np.nan, np.nan, np.nan),
    ]  # fmt: skip
    rows = [
        {
            "name": "c", "claim": "the same model, read by a sliding window of half of L: " * 2,
            "primary": i < 2, "check": i == 3, "measure": ("loss", "utilisation")[i % 2],
            "subject": LONG, "baseline": "", "length_factor": 2.0, "protocol": "",
            "predict": predict, "value": value, "low": low, "high": high, "p": 0.01,
            "verdict": verdict, "reason": "the gate shows no use of text" if i == 3 else "",
            "n_seeds": 3,
        }
        for i, (verdict, predict, value, low, high) in enumerate(kinds)
    ]  # fmt: skip
    return claims_figure.draw("a_study: what was asked", "3 seeds.", rows, look)


def costs(look: Look) -> Sheet:
    subjects = ("text_rope", "text_rope+position_interpolation", "text_alibi", LONG, IDEOGRAPHS)
    time = {"of_trained": 1.0, "low": 0.9, "high": 1.2, "rounds": 7, "eval_length": 1_048_576}
    losses = [
        {
            "subject": subject, "eval_length": length, "loss": 1.0 + i, "low": 0.8 + i,
            "high": 1.1 + i, "kept_mib": 2048.0, "beaten_by": "x" * (i % 2),
        }
        for i, subject in enumerate(subjects)
        for length in (384_000, 1_048_576)
    ]  # fmt: skip
    return costs_figure.draw("a_study", [{"subject": s} | time for s in subjects], losses, look)


def bias(look: Look) -> Sheet:
    forms = ("linear", "log", "periodic", "constant")
    arms = ("text_t5_bias", "alibi", LONG)
    heads = [
        {"subject": arm, "spread": 1.0, "linear": -0.001, "log": 0.4} for arm in arms for _ in forms
    ]
    curves = [
        {
            "subject": arm, "seed": 0, "layers": "0", "head": head, "form": form,
            "offset": offset, "bias": -head * np.log1p(offset) / 4,
        }
        for arm in arms
        for head, form in enumerate(forms)
        for offset in (0, 1, 3, 15, 255, 65_535)
    ]  # fmt: skip
    return bias_figure.draw("a_study: the learned bias", "Every head.", curves, heads, look)


def bench(look: Look) -> Sheet:
    names = ("t5_bias, 1,048,576 × 1", "alibi", LONG, IDEOGRAPHS)
    dots = [
        bench_figure.Dot(name, 1.0 - i / 5, 0.9 - i / 5, 1.1, "1,048,576 tokens/s", 0.7)
        for i, name in enumerate(names)
    ]
    return bench_figure.draw(dots, "Training", "on one core", "speed relative to none", look)


ROWS = {
    "bias_curve": [
        {"layers": "0-1", "head": head, "offset": offset, "centred": -head * offset, "pairs": 9}
        for head in range(4)
        for offset in (0, 1, 10, 100)
    ],
    "attention_spread": [
        {
            "layer": layer, "head": head, "position": end // 2, "position_end": end,
            "effective_keys": end / (head + 2),
        }
        for layer in (0, 1)
        for head in range(4)
        for end in (16, 64, 256)
    ],
    "receptive_field": [
        {"eval_length": n, "tokens": t, "share": t / n, "low": t / n / 2, "high": 1.0}
        for n in (512, 1024)
        for t in (1, 10, 100, n)
    ],
    "phase_coverage": [
        {"pair": pair, "turns_trained": 50 / 2**pair, "turns_evaluated": 200 / 2**pair}
        for pair in range(8)
    ],
    "probes": [
        {"layer": layer, "range": name, "r2": value - layer / 4, "error": 10.0 ** (layer + 1)}
        for name, value in (("within", 1.0), ("beyond", -3.0))
        for layer in range(3)
    ],
    "exposure": [
        {
            "by": "row", "parameter": name, "first": i, "last": i, "terms": 512.0 - i,
            "moved": 0.1 / (i + 1),
        }
        for name in ("table.weight", "")
        for i in range(0, 400, 40)
    ],
}  # fmt: skip


def diagnostics(name: str) -> Callable[[Look], Sheet]:
    table = Table(name, {}, ROWS[name])
    return lambda look: diagnostics_figures.figure_of(table, IDENTITY, 512, look)


KINDS: dict[str, Callable[[Look], Sheet]] = {
    "loss_by_length": loss_by_length,
    "exact_match_by_length": exact_match,
    "loss_by_position": position,
    "fails_or_uses": verdicts,
    "study_values": study,
    "study_excess": study_excess,
    "study_claims": claims,
    "study_costs": costs,
    "study_bias": bias,
    "bench": bench,
    **{f"diagnostics_{name}": diagnostics(name) for name in ROWS},
}
