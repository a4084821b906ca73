"""What a bias of positions has become by distance: its curve, its shape, and how much attention it alone would leave far keys.

b_h(D) of every layer and head at D = 0 .. n - 1, as the last query of a window of n tokens sees it (one that depends on the query too,
as FIRE's, is another one at another length), centred at b_h(0), with the pairs n(D) that train it. On each length:
- least squares on a line s D and on a logarithm a ln(1 + D), each with an intercept: slope and R^2 over all offsets alike;
- tail mass M(n) = sum over D >= L of e^b / sum over D < n of e^b: the share of attention on keys that far if content decided nothing;
- theoretical receptive field TRF = the least j with sum over D < j of e^b at least 0.99 of the sum over D < n (Chi et al., ACL 2023);
- effective keys (sum e^b)^2 / sum e^2b, (1 + e^-s) / (1 - e^-s) for a line of slope -s.
The tail mass converges for ALiBi, for KERPLE's logarithm where a < -1, and never for a bias that is constant from some offset on.

Shape letters: H heads, n window, L training length.
"""

import numpy as np
import torch

from lengthgen.attention.bias_forms import Rows, Toeplitz
from lengthgen.diagnostics import reads
from lengthgen.diagnostics.findings import Finding, Table, span_of
from lengthgen.diagnostics.subject import Subject

POINTS = 96  # offsets of the written curve, log-spaced, at most
HELD = 0.99  # of the mass, by a receptive field
FLAT = 1e-6  # two biases nearer than this, in nats, are the same

COLUMNS = {
    "layers": "the layers that share it, from 0",
    "head": "from 0",
    "offset": "D = i - j",
    "bias": "b(D), nats, as the last query of the longest window sees it",
    "centred": "b(D) - b(0)",
    "pairs": "query-key pairs of that offset in a training sequence, mean over layers; 0 from train_length on",
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


def measure(subject: Subject) -> Finding:
    """Tables bias_curve and bias_shape."""
    L = subject.train_length
    found = curves(subject, subject.longest)
    if not found:
        return Finding(skipped="the scores have no bias that positions alone decide")
    pairs = reads.pairs_by_offset(subject.trained, L).numpy()
    rows = [
        {
            "layers": layers,
            "head": head,
            "offset": D,
            "bias": b[D],
            "centred": b[D] - b[0],
            "pairs": pairs[D] if D < L else 0.0,
        }
        for layers, heads in found.items()
        for head, b in enumerate(heads)
        for D in log_spaced(subject.longest, L)
    ]
    shapes = [
        {"layers": layers, "head": head, "eval_length": n, **shape(b, L)}
        for n in subject.lengths
        for layers, heads in (found if n == subject.longest else curves(subject, n)).items()
        for head, b in enumerate(heads)
    ]
    return Finding(
        [Table("bias_curve", COLUMNS, rows), Table("bias_shape", SHAPE, shapes)],
        _reading(shapes, L, subject.longest),
    )


@torch.no_grad()
def curves(subject: Subject, length: int) -> dict[str, np.ndarray]:
    """Layers that share a bias ("0", "0-3") -> b (H, length) float64 by offset, for the last query of a window of `length` tokens."""
    scheme = subject.model.scheme
    tokens = subject.windows[subject.longest][:1, -length:]
    biases = scheme.biases(scheme.read(tokens))
    members: dict[int, list[int]] = {}
    for layer, bias in enumerate(biases):
        if isinstance(bias, Toeplitz | Rows) and not scheme.general(layer):
            members.setdefault(id(bias), []).append(layer)
    found = {}
    for layers in members.values():
        b = biases[layers[0]].block(length - 1, length)[:, 0].flip(-1)
        found["-".join(map(str, dict.fromkeys((layers[0], layers[-1]))))] = b.double().cpu().numpy()
    return found


def shape(b: np.ndarray, train_length: int) -> dict:
    """The columns of bias_shape of one curve b (n,) float64."""
    n, D = len(b), np.arange(len(b), dtype=np.float64)
    spread, steps = float(b.std()), np.diff(b)
    constant = bool(np.ptp(b) < FLAT)
    slope_linear, r2_linear = fit(D, b)
    slope_log, r2_log = fit(np.log1p(D), b)
    falling, rising = bool((steps <= FLAT).all()), bool((steps >= -FLAT).all())
    differs = np.flatnonzero(np.abs(b - b[-1]) > FLAT)
    e = np.exp(b - b.max())
    mass = e.cumsum()
    return {
        "slope_linear": slope_linear, "r2_linear": None if constant else r2_linear,
        "slope_log": slope_log, "r2_log": None if constant else r2_log, "spread": spread,
        "course": "constant" if constant else "falling" if falling else "rising" if rising else "neither",
        "plateau": float(b[-1] - b[0]), "flat_from": int(differs[-1]) + 1 if len(differs) else 0,
        "tail_mass": float(e[train_length:].sum() / mass[-1]), "uniform_tail": max(0, n - train_length) / n,
        "receptive_field": int(np.searchsorted(mass, HELD * mass[-1])) + 1, "effective_keys": float(mass[-1] ** 2 / (e**2).sum()),
    }  # fmt: skip


def fit(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """(slope, R^2) of the least-squares line of y on x."""
    x, y = x - x.mean(), y - y.mean()
    slope = float(x @ y / max(x @ x, 1e-300))
    rest = y - slope * x
    return slope, float(1 - rest @ rest / max(y @ y, 1e-300))


def log_spaced(length: int, train_length: int) -> list[int]:
    """Offsets 0..length-1, evenly spaced in ln(1 + D), with the last trained one and the one after it."""
    found = {int(d) for d in np.geomspace(1, length, POINTS).round() - 1}
    return sorted(found | {d for d in (train_length - 1, train_length) if d < length})


def _reading(shapes: list[dict], train_length: int, longest: int) -> list[str]:
    trained = [row for row in shapes if row["eval_length"] == train_length]
    last = [row for row in shapes if row["eval_length"] == longest]
    said = [
        f"{len(trained)} curves, of {', '.join(f'layers {layers}' for layers in dict.fromkeys(row['layers'] for row in trained))}."
    ]
    courses = [row["course"] for row in trained]
    said.append(
        "Over the trained offsets " + ", ".join(f"{courses.count(course)} are {_named(course)}"
        for course in dict.fromkeys(courses)) + "."
    )  # fmt: skip
    bent = [row for row in trained if row["r2_linear"] is not None]
    if bent:
        said.append(
            f"There a line explains R2 = {span_of([row['r2_linear'] for row in bent])} of them, a logarithm "
            f"{span_of([row['r2_log'] for row in bent])}; b({train_length - 1:,}) - b(0) is {span_of([row['plateau'] for row in trained])}."
        )
    if longest > train_length:
        said.append(
            f"In a window of {longest:,} the bias alone would leave {span_of([row['tail_mass'] for row in last])} of attention to keys at "
            f"least {train_length:,} back (no bias: {last[0]['uniform_tail']:.3g})."
        )
    said.append(
        f"99 % of that mass lies within {span_of([row['receptive_field'] for row in last])} tokens; "
        f"effective keys {span_of([row['effective_keys'] for row in last])}."
    )
    return said


def _named(course: str) -> str:
    return "neither falling nor rising throughout" if course == "neither" else course
