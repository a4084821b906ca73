"""The bias of positions by distance: its curve, its shape, and the attention it leaves far keys.

b_h(D) of every layer and head at D = 0 .. n - 1, as the last query of a window of n tokens sees it
(FIRE's depends on the query too), with the pairs n(D) that train it. On each length:
- least squares on a line s D and on a logarithm a ln(1 + D), each with an intercept;
- tail mass M(n) = sum over D >= L of e^b / sum over D < n of e^b: the share of attention on keys
  that far if content decided nothing. It converges for ALiBi and for KERPLE's logarithm with
  a < -1, never for a bias that ends constant;
- theoretical receptive field TRF = the least j with sum over D < j of e^b at least 0.99 of the sum
  over D < n (Chi et al., ACL 2023);
- effective keys (sum e^b)^2 / sum e^2b.

Shape letters: H heads, n window, L training length.
"""

import numpy as np
import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Rows, Toeplitz
from lengthgen.diagnostics import reads
from lengthgen.diagnostics.diagnosed_model import DiagnosedModel
from lengthgen.diagnostics.findings import Finding, Table, log_spaced, range_of
from lengthgen.schemes.base import Scheme

POINTS = 96  # offsets of the written curve, log-spaced, at most
HELD = 0.99  # of the mass, by a receptive field
FLAT = 1e-6  # biases nearer than this, in nats, count as the same

COLUMNS = {
    "layers": "the layers that share it, from 0",
    "head": "from 0",
    "offset": "D = i - j",
    "bias": "b(D), nats, as the last query of the longest window sees it",
    "centred": "b(D) - b(0)",
    "pairs": "query-key pairs of that offset in a training sequence, mean over layers;"
    " 0 from train_length on",
}
SHAPE = {
    "layers": "the layers that share it, from 0",
    "head": "from 0",
    "eval_length": "n: offsets 0 .. n - 1",
    "slope_linear": "s of the line, nats a token",
    "r2_linear": "R^2 of the line; empty where the bias is constant",
    "slope_log": "a of the logarithm, nats",
    "r2_log": "R^2 of the logarithm; empty where the bias is constant",
    "spread": "standard deviation of b over the offsets, nats; 0 = constant",
    "course": "falling, rising, constant, or neither",
    "plateau": "b(n - 1) - b(0), nats",
    "flat_from": "the least offset from which b stays within 1e-6 of its last value",
    "tail_mass": "M(n)",
    "uniform_tail": "the same of no bias: (n - L) / n",
    "receptive_field": "TRF, tokens",
    "effective_keys": "(sum e^b)^2 / sum e^2b",
}


def measure(subject: DiagnosedModel) -> Finding:
    """Tables bias_curve and bias_shape."""
    L, longest = subject.train_length, subject.longest
    by_length = {n: curves(subject, n) for n in subject.lengths}
    if not by_length[longest]:
        return Finding(skipped="the scores have no bias that positions alone decide")
    pairs = reads.pairs_by_offset(subject.trained, L).numpy()
    # evenly spaced in ln(1 + D), and those around L
    offsets = {j - 1 for j in log_spaced(longest, POINTS)} | {L - 1, min(L, longest - 1)}
    rows = [
        {
            "layers": layers, "head": head, "offset": D, "bias": b[D], "centred": b[D] - b[0],
            "pairs": pairs[D] if D < L else 0.0,
        }
        for layers, heads in by_length[longest].items()
        for head, b in enumerate(heads)
        for D in sorted(offsets)
    ]  # fmt: skip
    shapes = [
        {"layers": layers, "head": head, "eval_length": n, **curve_shape(b, L)}
        for n, of_length in by_length.items()
        for layers, heads in of_length.items()
        for head, b in enumerate(heads)
    ]
    return Finding(
        [Table("bias_curve", COLUMNS, rows), Table("bias_shape", SHAPE, shapes)],
        _sentences(shapes, L, longest),
    )


@torch.no_grad()
def curves(subject: DiagnosedModel, length: int) -> dict[str, np.ndarray]:
    """Layers that share a bias ("0", "0-3") -> b (H, length) float64 of the last query."""
    return of_scheme(subject.model.scheme, subject.windows[subject.longest][:1], length)


def of_scheme(scheme: Scheme, tokens: Tensor, length: int) -> dict[str, np.ndarray]:
    """The same of a scheme on the last `length` of tokens (1, T)."""
    biases = scheme.biases(scheme.read(tokens[:, -length:]))
    layers_of: dict[int, list[int]] = {}
    curve_of = {}
    for layer, bias in enumerate(biases):
        if isinstance(bias, Toeplitz | Rows) and not scheme.general(layer):
            layers_of.setdefault(id(bias), []).append(layer)
            curve = bias.block(length - 1, length)[:, 0].flip(-1)
            curve_of[id(bias)] = curve.double().cpu().numpy()
    return {
        "-".join(map(str, dict.fromkeys((layers[0], layers[-1])))): curve_of[key]
        for key, layers in layers_of.items()
    }


def curve_shape(b: np.ndarray, train_length: int) -> dict:
    """The columns of bias_shape of one curve b (n,) float64."""
    n, D = len(b), np.arange(len(b), dtype=np.float64)
    spread, steps = float(b.std()), np.diff(b)
    constant = bool(np.ptp(b) < FLAT)
    slope_linear, r2_linear = fit_line(D, b)
    slope_log, r2_log = fit_line(np.log1p(D), b)
    falling, rising = bool((steps <= FLAT).all()), bool((steps >= -FLAT).all())
    course = "falling" if falling else "rising" if rising else "neither"
    differs = np.flatnonzero(np.abs(b - b[-1]) > FLAT)
    e = np.exp(b - b.max())  # all ratios below are free of the scale
    mass = e.cumsum()
    return {
        "slope_linear": slope_linear, "r2_linear": None if constant else r2_linear,
        "slope_log": slope_log, "r2_log": None if constant else r2_log, "spread": spread,
        "course": "constant" if constant else course, "plateau": float(b[-1] - b[0]),
        "flat_from": int(differs[-1]) + 1 if len(differs) else 0,
        "tail_mass": float(e[train_length:].sum() / mass[-1]),
        "uniform_tail": max(0, n - train_length) / n,
        "receptive_field": int(np.searchsorted(mass, HELD * mass[-1])) + 1,
        "effective_keys": float(mass[-1] ** 2 / (e**2).sum()),
    }  # fmt: skip


def fit_line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """(slope, R^2) of the least-squares line of y on x."""
    x, y = x - x.mean(), y - y.mean()
    # 1e-300: a single offset or a constant curve gives 0 instead of 0 / 0
    slope = float(x @ y / max(x @ x, 1e-300))
    rest = y - slope * x
    return slope, float(1 - rest @ rest / max(y @ y, 1e-300))


def _sentences(shapes: list[dict], train_length: int, longest: int) -> list[str]:
    trained = [row for row in shapes if row["eval_length"] == train_length]
    last = [row for row in shapes if row["eval_length"] == longest]
    layers = ", ".join(f"layers {layers}" for layers in dict.fromkeys(r["layers"] for r in trained))
    courses = [row["course"] for row in trained]
    words = {"neither": "neither falling nor rising throughout"}
    counts = ", ".join(
        f"{courses.count(course)} are {words.get(course, course)}"
        for course in dict.fromkeys(courses)
    )
    sentences = [f"{len(trained)} curves, of {layers}.", f"Over the trained offsets {counts}."]

    def over(rows: list[dict], column: str) -> str:
        return range_of(row[column] for row in rows)

    bent = [row for row in trained if row["r2_linear"] is not None]
    if bent:
        sentences.append(
            f"There a line explains R2 = {over(bent, 'r2_linear')} of them, a logarithm"
            f" {over(bent, 'r2_log')}; b({train_length - 1:,}) - b(0) is"
            f" {over(trained, 'plateau')}."
        )
    if longest > train_length:
        sentences.append(
            f"In a window of {longest:,} the bias alone would leave {over(last, 'tail_mass')} of"
            f" attention to keys at least {train_length:,} back"
            f" (no bias: {last[0]['uniform_tail']:.3g})."
        )
    sentences.append(
        f"99 % of that mass lies within {over(last, 'receptive_field')} tokens;"
        f" effective keys {over(last, 'effective_keys')}."
    )
    return sentences
