"""A class of `transformers` as a target: what it can express, its configuration, its weights.

lengthgen's trunk is pre-norm, without biases of linear layers and norms, and with an epsilon of
1e-5. A class that has biases gets zeros (huggingface.py fills them in).

Shape letters: H heads, D head size, E width, V vocabulary.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from lengthgen.exporting.traits import InputTable, Rotation, Slopes, Traits

Weights = Mapping[str, Tensor]  # a lengthgen model's, by the names of its state dict
EPSILON = 1e-5  # of nn.LayerNorm and of model.make_norm
WINDOWS = ("none", "every layer", "any layer")
# How the ways in which positions enter are called in a refusal.
WORDS = {Rotation: "rotary positions", Slopes: "ALiBi", InputTable: "positions in the input"}
NO_POSITIONS = "no positions"


class Architecture:
    """One class of transformers. Subclasses state what it has, its configuration and its names."""

    name: ClassVar[str]
    norm: ClassVar[str]  # as model.norm
    activation: ClassVar[str]  # as model.activation
    qk_norm: ClassVar[tuple[bool, ...]] = (False,)
    positions: ClassVar[tuple[type, ...]]  # of traits.Positions; NoneType: it can do without
    partial_rotation: ClassVar[bool] = False  # the first channels of a head alone are rotated
    still_pairs: ClassVar[bool] = False  # slow pairs of channels may be left unrotated
    silent_layers: ClassVar[bool] = False  # layers without positions
    windows: ClassVar[str] = "none"  # of WINDOWS
    bound: ClassVar[str | None] = None  # the configuration key that ends its input, if one does
    raisable: ClassVar[bool] = False  # that key may be raised when the model is loaded

    def obstacles(self, traits: Traits) -> list[str]:
        """What of the model this class cannot express, each in a few words."""
        model, found = traits.model, []
        if not isinstance(traits.positions, self.positions):
            found.append(WORDS.get(type(traits.positions), NO_POSITIONS))
        if model.norm != self.norm:
            found.append(f"model.norm={model.norm}")
        if model.activation != self.activation:
            found.append(f"model.activation={model.activation}")
        if model.qk_norm not in self.qk_norm:
            found.append(f"model.qk_norm={str(model.qk_norm).lower()}")
        if any(traits.silent) and not self.silent_layers:
            found.append("layers without positions")
        return found + self._in_rotation(traits) + self._in_spans(traits)

    def _in_rotation(self, traits: Traits) -> list[str]:
        rotation, found = traits.positions, []
        if not isinstance(rotation, Rotation):
            return []
        if rotation.spectrum.channels < traits.head_dim and not self.partial_rotation:
            found.append("a rotation of a part of each head")
        if rotation.spectrum.kept < rotation.spectrum.channels // 2 and not self.still_pairs:
            found.append("pairs of channels that do not turn")
        return found

    def _in_spans(self, traits: Traits) -> list[str]:
        spans = [span for span in traits.spans if span and (span.window or span.sinks)]
        if not spans:
            return []
        if any(span.sinks for span in spans):
            return ["sinks beside a window"]
        if len({span.window for span in spans}) > 1:
            return ["windows of several sizes"]
        everywhere = len(spans) == len(traits.spans)
        if self.windows == "any layer" or (self.windows == "every layer" and everywhere):
            return []
        return ["a window in some layers" if self.windows == "every layer" else "a window"]

    def config(self, traits: Traits, length: int) -> dict[str, Any]:
        """Arguments of its configuration class. length: its longest input, where it is bounded."""
        raise NotImplementedError

    def weights(self, traits: Traits, own: Weights, length: int) -> dict[str, Tensor]:
        """Its parameters by name, but for biases and the output head."""
        raise NotImplementedError

    def head(self, traits: Traits, own: Weights) -> Tensor | None:
        """The output head (V, E); None where it is the token embedding."""
        return own.get("head.weight")


def identifiers(traits: Traits) -> dict[str, Any]:
    """What every configuration has."""
    return {
        "vocab_size": traits.vocab_size,
        "tie_word_embeddings": traits.model.tie_head,
        "bos_token_id": traits.begin,
        "eos_token_id": traits.begin,  # where the next document begins, one has ended
        "pad_token_id": None,
        "use_cache": True,
    }


def rope_parameters(traits: Traits) -> dict[str, Any]:
    """The rotation, as transformers 5 names it; of a model without positions, one that is still."""
    rotation = traits.positions
    if not isinstance(rotation, Rotation):
        return {"rope_type": "proportional", "rope_theta": 10000.0, "partial_rotary_factor": 0.0}
    spectrum = rotation.spectrum
    if rotation.parameters:
        share = spectrum.channels / traits.head_dim
        own = {"rope_theta": spectrum.base, "partial_rotary_factor": share}
        return own | dict(rotation.parameters)
    if spectrum.kept < spectrum.channels // 2:
        kind, share = "proportional", 2 * spectrum.kept / spectrum.channels
    else:
        kind, share = "default", spectrum.channels / traits.head_dim
    return {"rope_type": kind, "rope_theta": spectrum.base, "partial_rotary_factor": share}


def longest_input(traits: Traits) -> int:
    """Tokens that the model is for: of its training, or of its retrofit."""
    rotation = traits.positions
    longest = rotation.longest if isinstance(rotation, Rotation) else None
    return longest or traits.train_length


def window_of(traits: Traits) -> int | None:
    """The window of the layers that have one."""
    return next((span.window for span in traits.spans if span and span.window), None)


def layers(traits: Traits, own: Weights) -> list[dict[str, Tensor]]:
    """The weights of each block, by their names in it."""
    starts = [f"blocks.{number}." for number in range(traits.model.n_layers)]
    return [
        {name.removeprefix(start): own[name] for name in own if name.startswith(start)}
        for start in starts
    ]


def queries_keys_values(traits: Traits, block: Weights) -> tuple[Tensor, Tensor, Tensor]:
    """(H, D, E) each; channels of queries and keys in the order that transformers rotates."""
    H, D = traits.model.n_heads, traits.head_dim
    q, k, v = (part.view(H, D, -1) for part in block["attention.qkv.weight"].chunk(3))
    order = channel_order(traits)
    return q[:, order], k[:, order], v


def channel_order(traits: Traits) -> Tensor:
    """(D,): where each channel of a head comes from."""
    rotation = traits.positions
    if isinstance(rotation, Rotation):
        return rotation.order(traits.head_dim)
    return torch.arange(traits.head_dim)
