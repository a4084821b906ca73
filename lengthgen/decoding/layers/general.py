"""All keys and values, and the newest row of a scheme's own scores through its hooks.

A window frees nothing here: what a scheme makes of a visible score may depend on hidden keys (CoPE
counts them).
Shape letters: those of ../layers/__init__.py.
"""

import torch
from torch import Tensor

from lengthgen.attention import dispatch
from lengthgen.attention.kernels.one_query import for_each_head
from lengthgen.attention.kernels.windows_and_sinks import hide
from lengthgen.decoding.buffer import Buffer
from lengthgen.decoding.slots import Slots
from lengthgen.decoding.step import Step
from lengthgen.schemes.base import Scheme


class General:
    """Scores and mixture by `logits` and `mix`."""

    def __init__(self, scheme: Scheme, layer: int, room: int):
        self.scheme, self.layer = scheme, layer
        self.keys, self.values = (Buffer(Slots(), room) for _ in range(2))

    def buffers(self) -> list[Buffer]:
        return [self.keys, self.values]

    def attend(self, q: Tensor, k: Tensor, v: Tensor, x: Tensor, step: Step) -> Tensor:
        self.keys.append(k, step.first)
        self.values.append(v, step.first)
        if step.first == 0:
            return self._whole_window(q, k, v, x, step)
        wide, n_heads = torch.promote_types(q.dtype, torch.float32), q.shape[1]
        k, v = (
            for_each_head(part.kept(step.last).to(wide), n_heads)
            for part in (self.keys, self.values)
        )
        scheme, layer, first = self.scheme, self.layer, step.first
        with torch.autocast(q.device.type, enabled=False):
            scores = scheme.logits(q.to(wide), k, x, step.positions, layer, first)
            scores = hide(scores, first, step.last, scheme.span(layer))
            return scheme.mix(scores, v, layer, first).to(q.dtype)

    def _whole_window(self, q: Tensor, k: Tensor, v: Tensor, x: Tensor, step: Step) -> Tensor:
        """The first tokens of a text, as the model computes a window."""
        scheme, layer = self.scheme, self.layer
        return dispatch.attend_general(
            q,
            for_each_head(k, q.shape[1]),
            for_each_head(v, q.shape[1]),
            lambda q, k, first: scheme.logits(q, k, x, step.positions, layer, first),
            lambda logits, v, first: scheme.mix(logits, v, layer, first),
            scheme.span(layer),
            scheme.by_rows,
        )
