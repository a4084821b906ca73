"""Spans put together: what a query sees if two of them hold at once, and how many keys that is. Shared by modifiers and retrofits.

Shape letters: R rows of queries.
"""

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Span
from lengthgen.errors import ConfigError


def both(one: Span | None, other: Span | None) -> Span | None:
    """The keys that both spans show. ConfigError where these are no span themselves: a wider window with fewer sinks."""
    if one is None or one.window is None:
        return other
    if other is None or other.window is None:
        return one
    narrow, wide = sorted((one, other), key=lambda span: (span.window, span.sinks))
    if narrow.sinks > wide.sinks:
        raise ConfigError(
            f"a window of {narrow.window} tokens with {narrow.sinks} sinks inside one of {wide.window} with {wide.sinks}: "
            f"expected at most {wide.sinks} sinks in the narrower one"
        )
    return narrow


def n_visible(first: int, last: int, span: Span | None, device: torch.device) -> Tensor:
    """How many keys each of the queries first..last-1 sees, itself included: (R,) int64."""
    before = torch.arange(first + 1, last + 1, device=device)
    if span is None or span.window is None:
        return before
    return before.clamp(max=span.window) + (before - span.window).clamp(min=0, max=span.sinks)
