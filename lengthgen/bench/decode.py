"""Latency: time and memory of reading a prompt, and tokens/s of decoding after it, with a cache.

A candidate is a scheme, or a scheme with a retrofit (`rope+rerope`, `rope+yarn:factor=4`), not
trained: time does not depend on the weights. All candidates of a length and batch take turns, and
are compared within rounds with the first one.
Prefill: the logits after a prompt of `tokens` tokens and a new cache. Decode: `new` tokens after
such a prompt, greedily, one at a time for each text of the batch; the cache then goes back to the
prompt, or on where a window has let go of earlier keys, at the same cost.
Memory by formula (lengthgen/decoding/memory.py): weights, cache, activations of the prefill. Beside
it as measured: the cache's own bytes, and the peak of a process of its own above its model.

Shape letters: B texts, T tokens of a prompt.
"""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lengthgen import retrofits
from lengthgen.bench import memory
from lengthgen.bench.measuring import Candidate, Measured, quartiles
from lengthgen.bench.workload import SIZES, Place, Shape
from lengthgen.bench.workload import build as build_scheme
from lengthgen.config import dataclass_from
from lengthgen.decoding.generation import Decoder
from lengthgen.decoding.memory import cache_bytes, prefill_bytes, weight_bytes
from lengthgen.decoding.refusal import refusal
from lengthgen.errors import ConfigError
from lengthgen.model import Transformer
from lengthgen.retrofits.base import apply
from lengthgen.schemes.base import Scheme

# Full attention, a window with sinks, double attention; and two biases.
ARMS = ("rope", "rope+streaming_llm", "rope+rerope", "t5_bias", "alibi")
PREFILL = ("prefill_ms", "prefill_ms_low", "prefill_ms_high")
DECODE = ("decode_tokens_per_second", "decode_tokens_per_second_low",
          "decode_tokens_per_second_high")  # fmt: skip
OF_FIRST = ("of_first", "of_first_low", "of_first_high")
BYTES = (
    "weights_mib", "cache_mib", "cache_measured_mib", "activations_mib", "above_mib", "peak_mib",
)  # fmt: skip
WHERE = ("rounds", "clock", "threads", "device", "precision")
_SHAPE = tuple(name for name in SIZES if name != "batch")
COLUMNS = (
    "bench", "candidate", "tokens", "batch", "new", "status", *PREFILL, *DECODE, *OF_FIRST, *BYTES,
    *WHERE, *_SHAPE, "reason",
)  # fmt: skip
SHOWN = ("tokens", "batch", "candidate", *PREFILL, *DECODE, *OF_FIRST, *BYTES, "status")


def build(arm: str, shape: Shape, where: Place) -> Transformer:
    """The model of `scheme` or `scheme+retrofit[:key=value:...]`. ConfigError for other names."""
    scheme, *parts = arm.split("+")
    model = build_scheme(scheme, shape, where).eval()
    model.scheme.begin_step(1, 1)  # as before an evaluation
    for part in parts:
        name, *pairs = part.split(":")
        cls = retrofits.load(name)
        options = dict(_option(pair, arm) for pair in pairs)
        config = dataclass_from.build(cls.Config, options, "retrofit")
        model.scheme, _ = apply(cls, config, model.scheme)
    model.scheme.to(where.device)
    return model


def _option(pair: str, arm: str) -> tuple[str, Any]:
    key, equals, value = pair.partition("=")
    if not equals:
        raise ConfigError(f"--schemes {arm}: {pair!r} is no option; expected KEY=VALUE")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def prompts(shape: Shape, batch: int, length: int, where: Place) -> Tensor:
    """Random tokens (B, T); the same at every call."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(shape.vocab, (batch, length), generator=generator)
    return tokens.to(where.device)


def prefilled(model: Transformer, tokens: Tensor, where: Place, room: int = 0) -> Decoder:
    """A decoder that has read these prompts."""
    decoder = Decoder(model, max(room, tokens.shape[1]))
    with where.autocast():
        decoder.prefill(tokens)
    return decoder


@dataclass
class Group:
    """Candidates at one length of prompts and one batch."""

    shape: Shape
    where: Place
    arms: tuple[str, ...]
    length: int
    batch: int
    new: int
    refused: dict[str, str] = field(default_factory=dict)
    schemes: dict[str, Scheme] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)  # bytes

    @property
    def name(self) -> str:
        return f"decode L{self.length} B{self.batch}"

    def candidates(self) -> list[Candidate]:
        """Two for each arm that a cache can serve at this length."""
        found = []
        tokens = prompts(self.shape, self.batch, self.length, self.where)
        for arm in self.arms:
            model = build(arm, self.shape, self.where)
            scheme = model.scheme
            reason = refusal(scheme) or scheme.refusal(self.length + self.new)
            if reason:
                self.refused[arm] = reason
                continue
            self.schemes[arm], self.weights[arm] = scheme, weight_bytes(model)
            calls = {"prefill": self._prefill(model, tokens), "decode": self._decode(model, tokens)}
            for part, call in calls.items():
                found.append(Candidate(f"{arm}, {part}", "part", call))
        return found

    def _prefill(self, model: Transformer, tokens: Tensor) -> Callable[[], object]:
        return lambda: prefilled(model, tokens, self.where)

    def _decode(self, model: Transformer, tokens: Tensor) -> Callable[[], object]:
        decoder: Decoder | None = None

        def decode() -> None:
            nonlocal decoder
            if decoder is None:  # in the warm-up
                decoder = prefilled(model, tokens, self.where, self.length + self.new)
            token = tokens[:, -1]
            with self.where.autocast():
                for _ in range(self.new):
                    token = decoder.step(token).argmax(-1)
            if decoder.cache.can_rewind(self.length):
                decoder.cache.rewind(self.length)

        return decode


def rows(group: Group, measured: Measured, threads: int | None) -> list[dict[str, Any]]:
    """One row an arm, with COLUMNS: medians and quartiles over rounds, and memory in MiB."""
    first = next((arm for arm in group.arms if arm in group.schemes), "")
    return [_row(group, measured, threads, arm, first) for arm in group.arms]


def _row(
    group: Group, measured: Measured, threads: int | None, arm: str, first: str
) -> dict[str, Any]:
    sizes = {name: getattr(group.shape, name) for name in _SHAPE}
    row: dict[str, Any] = dict.fromkeys(COLUMNS) | sizes
    row |= {
        "bench": "decode",
        "candidate": arm,
        "tokens": group.length,
        "batch": group.batch,
        "new": group.new,
        "clock": measured.clock,
        "threads": torch.get_num_threads(),
        "device": group.where.device.type,
        "precision": group.where.precision,
    }
    if reason := group.refused.get(arm):
        return row | {"status": "refused", "reason": reason}
    prefill, decode = measured.seconds(f"{arm}, prefill"), measured.seconds(f"{arm}, decode")
    if not len(prefill) or not len(decode):
        reasons = (measured.failed.get(f"{arm}, {part}") for part in ("prefill", "decode"))
        return row | {"status": "failed", "reason": next(filter(None, reasons), "")}
    row |= {"status": "ok", "reason": "", "rounds": len(decode)}
    row |= zip(PREFILL, quartiles(1e3 * prefill), strict=True)
    row |= zip(DECODE, quartiles(group.batch * group.new / decode), strict=True)
    ratio = measured.ratio(f"{first}, decode", f"{arm}, decode")
    if ratio is not None:
        row |= zip(OF_FIRST, ratio, strict=True)
    return row | _memory(group, threads, arm)


def _memory(group: Group, threads: int | None, arm: str) -> dict[str, Any]:
    """By formula, and as a process of its own measured it."""
    shape, element = group.shape, torch.empty(0, dtype=group.where.dtype).element_size()
    predicted = {
        "weights_mib": group.weights[arm],
        "cache_mib": cache_bytes(group.schemes[arm], group.batch, group.length, element=element),
        "activations_mib": prefill_bytes(shape.model, group.batch, group.length, element),
    }
    job = {
        "case": "prefill", "arm": arm, "shape": dataclasses.asdict(shape), "batch": group.batch,
        "tokens": group.length,
    }  # fmt: skip
    result = memory.run(job, group.where, threads)
    if "base" in result:
        predicted |= {
            "cache_measured_mib": result["cache"],
            "above_mib": result["peak"] - result["base"],
            "peak_mib": result["peak"],
        }
    mib = {name: np.divide(value, 2**20).item() for name, value in predicted.items()}
    return mib | ({} if "base" in result else {"reason": result["reason"]})
