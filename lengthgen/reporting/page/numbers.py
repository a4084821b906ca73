"""How a page writes numbers: true minus signs, no -0.000, intervals in brackets."""

import math


def number(value: float, decimals: int = 3, sign: bool = False) -> str:
    """`−0.017`; `+0.020` with sign. Empty for NaN, an exponent from a million on."""
    if math.isnan(value):
        return ""
    if math.isinf(value) or abs(value) >= 1e6:
        return f"{value:.2g}".replace("-", "−")
    text = f"{value:+.{decimals}f}" if sign else f"{value:.{decimals}f}"
    if not float(text):
        text = text.lstrip("+-")
    return text.replace("-", "−")


def interval(low: float, high: float, decimals: int = 3, sign: bool = False) -> str:
    """`[−0.034, −0.007]`; empty without one."""
    if math.isnan(low) or math.isnan(high):
        return ""
    return f"[{number(low, decimals, sign)}, {number(high, decimals, sign)}]"


def short(value: float) -> str:
    """Three significant digits, thousands apart: `1,250`, `0.0720`."""
    if math.isnan(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")


def counted(n: int, noun: str) -> str:
    """`1 seed`, `3 seeds`."""
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{n:,} {noun if n == 1 else plural}"
