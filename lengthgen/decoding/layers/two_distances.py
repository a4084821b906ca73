"""Keys as near queries see them and as far ones do, each for as long as it is needed.

Where the window is no wider than the near distance (StreamingLLM, LM-Infinite) all kept keys are
kept as near ones, and the sinks as far ones besides. Otherwise (ReRoPE, Self-Extend) all kept keys
are kept as far ones, and the last few as near ones besides: a ring, whose bytes stop growing.

Shape letters: those of ../layers/__init__.py; S and P slots of the two.
"""

import torch
from torch import Tensor

from lengthgen.attention.kernels import two_distances
from lengthgen.attention.kernels.one_query import mixed, scores_of
from lengthgen.attention.two_distances import TwoDistances
from lengthgen.decoding.buffer import Buffer
from lengthgen.decoding.slots import Slots
from lengthgen.decoding.step import Step
from lengthgen.schemes.base import Scheme


def both_slots(scheme: Scheme, layer: int, pairs: TwoDistances) -> tuple[Slots, Slots, bool]:
    """Of all kept keys, of those kept in the other way besides, and whether these are the far."""
    every = Slots.of(scheme.span(layer))
    if every.window is not None and every.window <= pairs.window:
        return every, Slots(every.sinks, 0), True
    near = max(pairs.window, pairs.far_from)
    return every, Slots(0, near if every.window is None else min(near, every.window)), False


class Turned:
    """Scores that are one of two products (attention/two_distances.py), mixed by softmax."""

    def __init__(self, scheme: Scheme, layer: int, room: int, pairs: TwoDistances):
        self.scheme, self.layer = scheme, layer
        every, besides, self.far_besides = both_slots(scheme, layer, pairs)
        self.keys, self.values = Buffer(every, room), Buffer(every, room)
        self.besides = Buffer(besides, room)

    def buffers(self) -> list[Buffer]:
        return [self.keys, self.values, self.besides]

    def attend(self, q: Tensor, k: Tensor, v: Tensor, x: Tensor, step: Step) -> Tensor:
        scheme, layer, first = self.scheme, self.layer, step.first
        with torch.autocast(q.device.type, enabled=False):
            wide = torch.promote_types(q.dtype, torch.float32)
            pairs = scheme.two_distances(q.to(wide), k.to(wide), step.new_positions, layer, first)
            assert pairs is not None
            near_first = (pairs.near, pairs.far) if self.far_besides else (pairs.far, pairs.near)
            (query, key), (query_besides, key_besides) = near_first
            self.keys.append(key.to(k.dtype), first)
            self.besides.append(key_besides.to(k.dtype), first)
            self.values.append(v, first)
            if first == 0:
                span = scheme.span(layer)
                return two_distances.attend(pairs, v.to(wide), span).to(q.dtype)
            scores = scores_of(query, self.keys.kept(step.last).to(wide))
            self._replace(scores, query_besides, pairs, step)
            return mixed(scores, self.values.kept(step.last).to(wide)).to(q.dtype)

    def _replace(self, scores: Tensor, q: Tensor, pairs: TwoDistances, step: Step) -> None:
        """Write into scores (B, H, 1, S) those of the keys that count in the other way."""
        other = scores_of(q, self.besides.kept(step.last).to(q.dtype))
        if not other.shape[-1]:
            return
        tokens = self.besides.slots.tokens(step.last, q.device)
        query = step.last - 1
        far = (query - tokens >= pairs.window) & (query >= pairs.far_from)
        places = self.keys.slots.places(tokens)
        chosen = far if self.far_besides else ~far
        scores.index_copy_(-1, places, torch.where(chosen, other, scores.index_select(-1, places)))
