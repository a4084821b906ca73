"""Axes of losses, perplexities and their changes: their scale, ticks, and a label that names it."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from lengthgen.reporting.figures import ticks

STEPS = [1, 2, 5, 10]  # of ticks, times a power of ten
WORDS = {"perplexity": "perplexity", "loss": "loss (nats/token)", "bits_per_byte": "bits per byte"}
POWERS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10)  # ticks of a signed logarithmic axis


def positive(axes: Axes, metric: str, drawn: np.ndarray) -> None:
    """Of a metric; logarithmic when the largest value is more than 2.5 times the smallest."""
    drawn = drawn[np.isfinite(drawn)]
    logarithmic = drawn.size > 0 and drawn.min() > 0 and drawn.max() > 2.5 * drawn.min()
    axes.set_ylabel(WORDS[metric] + (" (log scale)" if logarithmic else ""))
    if not logarithmic:
        axes.yaxis.set_major_locator(MaxNLocator(7, steps=STEPS))
        return
    axes.set_yscale("log")
    decades = np.log10(drawn.max() / drawn.min())
    subs = (1, 1.5, 2, 3, 4, 5, 7) if decades < 1 else (1, 2, 5) if decades < 2.5 else (1,)
    axes.yaxis.set_major_locator(LogLocator(subs=subs))
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 10 else f"{value:g}")
    )
    axes.yaxis.set_minor_locator(NullLocator())


def changes(axes: Axes, low: float, high: float) -> None:
    """Linear, with a sign at every tick."""
    pad = 0.06 * (high - low)
    axes.set_ylim(low - pad, high + pad)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=STEPS))
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda y, _: "0" if abs(y) < 1e-9 else f"{y:+.3g}")
    )


def signed_logarithmic(axes: Axes, low: float, high: float, linear: float) -> str:
    """The horizontal axis from low to high, linear within ±`linear`. The words that say so."""
    axes.set_xscale("symlog", linthresh=linear, linscale=1.0)
    axes.set_xlim(low, high)
    places = [place for place in (*(-p for p in POWERS[::-1]), 0, *POWERS) if low <= place <= high]
    axes.xaxis.set_major_locator(FixedLocator(places))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(
        ticks.Spaced(lambda value: f"{value:+g}" if value else "0", ticks.signed)
    )
    if max(-low, high) <= linear:
        return ""
    return f"linear to ±{linear:g}, logarithmic beyond"
