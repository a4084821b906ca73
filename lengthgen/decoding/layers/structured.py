"""Keys, values and, for gates, their running sums, of the tokens that a window and sinks leave.

Shape letters: those of ../layers/__init__.py.
"""

import torch
from torch import Tensor

from lengthgen.attention import dispatch
from lengthgen.attention.bias_forms import Bias, Gates
from lengthgen.attention.kernels import one_query
from lengthgen.attention.kernels.one_query import for_each_head
from lengthgen.decoding.buffer import Buffer
from lengthgen.decoding.slots import Slots
from lengthgen.decoding.step import Step
from lengthgen.schemes.base import Scheme


class Structured:
    """Scores q k^T and a bias: of none, by position, or of gates."""

    def __init__(self, scheme: Scheme, layer: int, room: int):
        self.scheme, self.layer = scheme, layer
        self.slots = Slots.of(scheme.span(layer))
        self.keys, self.values, self.sums = (Buffer(self.slots, room) for _ in range(3))

    def buffers(self) -> list[Buffer]:
        return [self.keys, self.values, self.sums]

    def attend(self, q: Tensor, k: Tensor, v: Tensor, x: Tensor, step: Step) -> Tensor:
        scheme = self.scheme
        with torch.autocast(x.device.type, enabled=False):
            gates = self._gates(x[:, -q.shape[2] :], step)
        q, k, v = dispatch.as_autocast(q, k, v)
        self.keys.append(k, step.first)
        self.values.append(v, step.first)
        if step.first == 0:
            bias: Bias | None = gates or step.biases[self.layer]
            k, v = (for_each_head(part, q.shape[1]) for part in (k, v))
            span = scheme.span(self.layer)
            return dispatch.attend(q, k, v, bias, scheme.score_scale, span=span)
        k, v = self.keys.kept(step.last), self.values.kept(step.last)
        return one_query.attend(q, k, v, self._mask(gates, step), scheme.score_scale)

    def _gates(self, x: Tensor, step: Step) -> Gates | None:
        """Running sums (B, H, R) of new tokens, which are kept, and their weights."""
        gates, weights = self.scheme.gates_from(x, self.layer, step.first)
        if gates is None:
            return None
        sums = gates.double().cumsum(-1)
        if step.first:
            before = self.slots.place(step.first - 1)
            sums += self.sums.kept(step.first)[:, :, before]
        self.sums.append(sums[..., None], step.first)
        return Gates(sums, weights)

    def _mask(self, gates: Gates | None, step: Step) -> Tensor | None:
        if gates is None:
            return step.bias_row(self.layer, self.slots)
        between = gates.cumulative[..., None] - self.sums.kept(step.last).mT
        return between if gates.weights is None else gates.weights[..., None] * between
