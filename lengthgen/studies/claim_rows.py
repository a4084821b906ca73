"""The numbers and words of a claim's row in the figure of claims: its scale, what was found."""

import math
from collections.abc import Mapping
from typing import Any

from lengthgen.reporting import text_tables
from lengthgen.studies.claims import CHECK, EXPLORATORY, PRIMARY

UNITS = {"recovered": "of the loss", "utilisation": "of the gain", "gradient": ""} | dict.fromkeys(
    ("bias_linear", "bias_log", "bias_periodic", "bias_decreasing", "bias_log_over_linear"),
    "of variance",
)
Row = Mapping[str, Any]


def role(claim: Row) -> str:
    """primary, exploratory or check, of a row of claims.csv, an older one as well."""
    return PRIMARY if claim["primary"] else CHECK if claim.get("check") else EXPLORATORY


def scale(claim: Row) -> float:
    """The least of 1, 2, 5 times a power of ten that holds all that the row shows."""
    numbers = [claim[name] for name in ("value", "low", "high")]
    if claim.get("common_verdict"):
        numbers += [claim[f"common_{name}"] for name in ("value", "low", "high")]
    numbers.append(float(claim["predict"].partition(" ")[2]))
    most = max((abs(number) for number in numbers if math.isfinite(number)), default=0) or 1.0
    power = 10.0 ** math.floor(math.log10(most))
    return next(step * power for step in (1, 2, 5, 10, 20) if step * power >= most * 1.02)


def reaches_below(claim: Row) -> bool:
    """Whether a row has anything well below 0."""
    kind, _, number = claim["predict"].partition(" ")
    shown = [claim["low"], claim.get("common_low", math.nan), float(number)]
    if kind == "within":
        shown.append(-float(number))
    return min((n for n in shown if math.isfinite(n)), default=0) < -0.1 * scale(claim)


def common(claim: Row) -> dict[str, Any] | None:
    """What was found at the common rates of a grid; None without one."""
    if not claim.get("common_verdict"):
        return None
    names = ("value", "low", "high", "verdict")
    return {name: claim[f"common_{name}"] for name in names}


def found(row: Row, size: float) -> str:
    """With as many decimals as the row's scale asks for."""
    decimals = min(6, max(2, 2 - math.floor(math.log10(size))))
    numbers = (row["value"], row["low"], row["high"])

    def write(number: float) -> str:
        return f"{number:.{decimals}f}" if math.isfinite(number) else "unknown"

    return text_tables.interval(*numbers, write) or "nothing"


def prediction_words(claim: Row) -> str:
    kind, _, number = claim["predict"].partition(" ")
    return f"within ±{number}" if kind == "within" else f"{kind} {number}"


def words(claim: Row) -> list[str]:
    """Lines beside a row: what was found, and what was predicted, in the measure's unit."""
    unit, size = UNITS.get(claim["measure"], "nats"), scale(claim)
    lines = [f"found {found(claim, size)}", f"predicted {prediction_words(claim)} {unit}".rstrip()]
    if both := common(claim):
        lines.insert(1, f"common {found(both, size)}")
    return lines
