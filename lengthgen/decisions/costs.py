"""What each way of reading costs: prefill and decoding by the clock, weights and cache by formula.

All subjects take turns in every round, and ratios are taken within a round, so that other load hits
all alike. CPU seconds, on CUDA wall seconds. A scheme that no cache can serve has a prefill alone.

Shape letters: T tokens of a prompt.
"""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lengthgen.decoding.generation import Decoder
from lengthgen.decoding.memory import cache_bytes, weight_bytes
from lengthgen.decoding.refusal import refusal
from lengthgen.model import Transformer
from lengthgen.studies.costs import seconds_of
from lengthgen.terminal import progress

MIB = 2**20


@dataclass(frozen=True)
class Timed:
    """Seconds in every round. of_first: ratios to the first subject of the same round."""

    seconds: tuple[float, ...]
    of_first: tuple[float, ...]

    @property
    def milliseconds(self) -> float:
        return 1e3 * statistics.median(self.seconds)


@dataclass(frozen=True)
class Cost:
    """Of one subject at one length. token: of one decoded token; None where none can be decoded."""

    prefill: Timed
    token: Timed | None
    weights_mib: float
    cache_mib: float | None
    reason: str = ""  # why there is no decoding


def measure(
    models: Mapping[str, Transformer], tokens: Tensor, rounds: int, new: int
) -> dict[str, Cost]:
    """The cost of reading a prompt (1, T), and of decoding `new` tokens after it."""
    prefills: dict[str, Callable[[], object]] = {}
    decodes: dict[str, Callable[[], object]] = {}
    reasons: dict[str, str] = {}
    length = tokens.shape[1]
    for name, model in models.items():
        reason = refusal(model.scheme)
        prefills[name] = _read(model, tokens) if reason else _prefill(model, tokens)
        if reason:
            reasons[name] = reason
        else:
            decodes[name] = _decode(model, tokens, new)
    prefill, decode = _timed(prefills, rounds, 1), _timed(decodes, rounds, new)
    return {
        name: Cost(
            prefill[name],
            decode.get(name),
            weight_bytes(model) / MIB,
            None if name in reasons else _cache(model, length + new) / MIB,
            reasons.get(name, ""),
        )
        for name, model in models.items()
    }


def _cache(model: Transformer, length: int) -> int:
    weight = model.embedding.weight
    heads = getattr(model, "kv_heads", None)
    return cache_bytes(model.scheme, 1, length, heads, weight.element_size())


def _read(model: Transformer, tokens: Tensor) -> Callable[[], object]:
    """The loss of the last token alone, without a cache."""

    @torch.no_grad()
    def call() -> object:
        return model.losses(tokens[:, :-1], tokens[:, 1:], tokens.shape[1] - 2)

    return call


def _prefill(model: Transformer, tokens: Tensor) -> Callable[[], object]:
    return lambda: Decoder(model, tokens.shape[1]).prefill(tokens)


def _decode(model: Transformer, tokens: Tensor, new: int) -> Callable[[], object]:
    """Greedily; then back to the prompt, or on where a window has let go of earlier keys."""
    length, decoders = tokens.shape[1], list[Decoder]()

    def call() -> None:
        if not decoders:  # in the warm-up
            decoders.append(Decoder(model, length + new))
            decoders[0].prefill(tokens)
        (decoder,), token = decoders, tokens[:, -1]
        for _ in range(new):
            token = decoder.step(token).argmax(-1)
        if decoder.cache.can_rewind(length):
            decoder.cache.rewind(length)

    return call


def _timed(calls: Mapping[str, Callable[[], object]], rounds: int, each: int) -> dict[str, Timed]:
    """each: what a call does so many of; seconds are of one."""
    for call in calls.values():
        call()
    seconds = []
    for _ in progress.each("rounds", range(rounds), rounds):
        seconds.append({name: seconds_of(call) / each for name, call in calls.items()})
    return {
        name: Timed(
            tuple(one[name] for one in seconds),
            tuple(one[name] / next(iter(one.values())) for one in seconds),
        )
        for name in calls
    }
