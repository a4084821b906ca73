"""The panel of the paired change of the loss, scaled to the schemes that change little.

The other lines leave the panel, and their names give the change at the longest length.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lengthgen.reporting import tables
from lengthgen.reporting.figures import layout, length_axis, line_names, palette, value_axis
from lengthgen.reporting.figures.line_names import End
from lengthgen.reporting.figures.look import Look, scale
from lengthgen.statistics.thresholds import DELTA

Scored = Mapping[str, pd.DataFrame]  # scheme -> its rows by evaluation length


def draw(axes: Axes, scored: Scored, lengths: Sequence[int], train_length: int) -> None:
    """The lines with their bands."""
    known = _known(scored)
    low, high = _limits(known)
    for scheme, values in known.items():
        layout.line(axes, palette.style(scheme), scored[scheme]["eval_length"], *values.T)
    length_axis.draw(axes, lengths, train_length)
    value_axis.changes(axes, low, high)
    axes.axhspan(-DELTA, DELTA, color="#eeeeee", linewidth=0, zorder=0)
    axes.axhline(0, color=layout.GREY, linewidth=0.8 * scale(), zorder=1)
    axes.set_ylabel(f"loss minus loss at {train_length:,}\n(nats/token, paired)")


def name(axes: Axes, ends: Mapping[str, End], off_scale: Mapping[str, str], height: float) -> None:
    """Names beside the panel, `height` inches high; with their change where they leave it."""
    known = [
        replace(end, text=off_scale.get(scheme, end.text))
        for scheme, end in ends.items()
        if end.y is not None and np.isfinite(end.y)
    ]
    if known:
        line_names.beside(axes, known, height)


def off_scale(scored: Scored, look: Look) -> dict[str, str]:
    """Scheme -> its name and its change at the longest length, of lines that leave the panel."""
    known = _known(scored)
    low, high = _limits(known)
    pad = 0.06 * (high - low)
    names = {}
    for scheme, values in known.items():
        change = values[-1, 0]
        if np.isfinite(change) and not low - pad <= change <= high + pad:
            names[scheme] = f"{look.name(scheme)} {'↑' if change > 0 else '↓'} {change:+.2f}"
    return names


def _known(scored: Scored) -> dict[str, np.ndarray]:
    """Scheme -> (lengths, 3): the change and its bounds, of those that have one."""
    bounds = {
        scheme: line[[*tables.ends("loss_change")]].to_numpy(np.float64)
        for scheme, line in scored.items()
    }
    return {scheme: values for scheme, values in bounds.items() if np.isfinite(values[:, 0]).any()}


def _limits(known: Mapping[str, np.ndarray]) -> tuple[float, float]:
    """Least and greatest of what changes little: each at most 4 times the one before."""
    sizes = {scheme: float(np.nanmax(np.abs(values))) for scheme, values in known.items()}
    limit = min(sizes.values(), default=0.0)
    for size in sorted(sizes.values()):
        if size > max(0.1, 4 * limit):
            break
        limit = size
    near = [values for scheme, values in known.items() if sizes[scheme] <= limit]
    low = min([-1.5 * DELTA, *(float(np.nanmin(values)) for values in near)])
    return low, max([1.5 * DELTA, *(float(np.nanmax(values)) for values in near)])
