"""Phase coverage: how many turns each rotary pair completes within the training length.

A pair of period p = 2 pi / f > L tokens never completes a turn in training: beyond L it comes to
angles that it never had; the others meet no new angle. Where training draws positions from a longer
range, that range counts and not L. The evaluated columns have the frequencies of a retrofit.
Critical dimension 2 ceil(R/2 log_base(L / (2 pi))), of R rotated channels: those of the pairs that
do complete a turn (Liu et al., "Scaling laws of RoPE-based extrapolation", ICLR 2024, arXiv
2310.05209).

Shape letters: R rotated channels.
"""

import math
from collections.abc import Iterator

import torch

from lengthgen.diagnostics import reads
from lengthgen.diagnostics.diagnosed_model import DiagnosedModel
from lengthgen.diagnostics.findings import Finding, Table
from lengthgen.retrofits.rotary import Respaced
from lengthgen.schemes.base import Scheme
from lengthgen.schemes.rotary import Rotary
from lengthgen.schemes.wrapper import Wrapper

COLUMNS = {
    "pair": "from 0, the fastest",
    "frequency": "radians a position in training; 0 = the pair stands still",
    "wavelength": "2 pi / frequency, tokens; empty where the pair stands still",
    "turns_trained": "turns over the positions of a training window"
    " (train_length of them, unless training draws them)",
    "completes": "1: at least one turn in training; 0: not",
    "frequency_evaluated": "radians a position in a window of the longest length:"
    " another one under a retrofit that changes it",
    "turns_evaluated": "turns over a window of the longest length",
    "unseen": "1: angles in that window that training never reached; 0: none",
}


def measure(subject: DiagnosedModel) -> Finding:
    """Table phase_coverage."""
    rotary = next((part for part in parts(subject.trained) if isinstance(part, Rotary)), None)
    if rotary is None:
        return Finding(skipped="the scheme tells of no rotary frequencies")
    T, spectrum, scheme = subject.longest, rotary.spectrum, subject.model.scheme
    reach = reads.extent(reads.as_in_training(subject.trained, subject.training)) + 1
    later = reads.extent([scheme.read(subject.windows[T][:1])]) + 1
    cpu = torch.device("cpu")
    trained = spectrum.frequencies(cpu)
    respaced = next((part for part in parts(scheme) if isinstance(part, Respaced)), None)
    evaluated = trained if respaced is None else respaced.frequencies(T, cpu)
    rows = [
        row(pair, float(f), float(g), reach, later)
        for pair, (f, g) in enumerate(zip(trained, evaluated, strict=True))
    ]
    turning = [pair for pair in rows if pair["frequency"] > 0]
    unfinished = sum(not pair["completes"] for pair in turning)
    unseen = sum(pair["unseen"] for pair in rows)
    critical, R = critical_dimension(spectrum.base, spectrum.channels, reach), spectrum.channels
    sentences = [
        f"{unfinished} of {len(turning)} pairs that turn never complete a turn within"
        f" {reach:,.0f} positions.",
        f"Critical dimension: {critical} of {R} rotated channels.",
        f"In a window of {T:,} tokens {unseen} of {len(rows)} pairs come to angles that training"
        f" never reached{'' if respaced is None else ', with the frequencies of the retrofit'}.",
    ]
    return Finding([Table("phase_coverage", COLUMNS, rows)], sentences)


def row(pair: int, trained: float, evaluated: float, reach: float, later: float) -> dict:
    """One pair, from its frequencies (radians a position) and the positions of a window."""
    turns, turns_later = reach * trained / (2 * math.pi), later * evaluated / (2 * math.pi)
    return {
        "pair": pair, "frequency": trained,
        "wavelength": 2 * math.pi / trained if trained else None,
        "turns_trained": turns, "completes": int(turns >= 1),
        "frequency_evaluated": evaluated, "turns_evaluated": turns_later,
        # 1e-9: interpolation brings the turns back to training's up to rounding
        "unseen": int(turns < 1 and turns_later > turns * (1 + 1e-9)),
    }  # fmt: skip


def critical_dimension(base: float, channels: int, length: float) -> int:
    """2 ceil(R/2 log_base(length / (2 pi))), within 0..R."""
    pairs = math.ceil(channels / 2 * math.log(max(length / (2 * math.pi), 1.0), base))
    return 2 * min(pairs, channels // 2)


def parts(scheme: Scheme) -> Iterator[Scheme]:
    """The scheme and what it wraps, outermost first."""
    yield scheme
    while isinstance(scheme, Wrapper):
        scheme = scheme.inner
        yield scheme
