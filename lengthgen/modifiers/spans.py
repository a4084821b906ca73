"""What several windows and sinks show together, shared by modifiers and retrofits."""

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Span
from lengthgen.errors import ConfigError


def both(one: Span | None, other: Span | None) -> Span | None:
    """The keys that both spans show. ConfigError if the narrower window has more sinks."""
    if one is None or one.window is None:
        return other
    if other is None or other.window is None:
        return one
    (narrow, sinks), (wide, most) = sorted(
        (window, span.sinks) for span in (one, other) if (window := span.window)
    )
    if sinks > most:
        raise ConfigError(
            f"a window of {narrow} tokens with {sinks} sinks inside one of {wide} with {most}: "
            f"expected at most {most} sinks in the narrower one"
        )
    return Span(narrow, sinks)


def n_visible(first: int, last: int, span: Span | None, device: torch.device) -> Tensor:
    """How many keys each of the queries first..last-1 sees, itself included: (R,) int64."""
    causal = torch.arange(first + 1, last + 1, device=device)
    if span is None or span.window is None:
        return causal
    return causal.clamp(max=span.window) + (causal - span.window).clamp(min=0, max=span.sinks)
