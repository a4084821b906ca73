"""Attention of the library transformers, computed by lengthgen: how a scheme gets into its models.

A model of transformers calls the attention function that its configuration names, with queries,
keys and values. Here that function hands them to what reads the model (reading.py). So that they
come without positions, what would add them elsewhere is replaced: a module of rotary angles by one
that turns nothing, a table of positions by the scheme's own codes.

BLOOM, MPT and Falcon have no such interface: their attention modules get a forward of their own.

Shape letters: B windows, T tokens, H heads, G key and value heads, D head size, R turned channels,
E width.
"""

import types
import weakref
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

NAME = "lengthgen"  # among transformers' attention functions
NAME_WITH_MASK = "lengthgen_with_mask"  # for models that change the dtype of their mask
ROTARY = "RotaryEmbedding"  # ends the names of its classes of angles
# Class -> its table of positions, and the row of position 0.
TABLES = {
    "GPT2Model": ("wpe", 0),
    "GPTBigCodeModel": ("wpe", 0),
    "OPTDecoder": ("embed_positions", 2),
}
NEEDS_MASK = ("mpt",)


class Reader(Protocol):
    """What computes attention and positions, of the window that is being read."""

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None
    ) -> Tensor:
        """q (B, H, T, D), k and v (B, G, T, D) -> the mixture (B, H, T, D)."""

    def codes(self) -> Tensor:
        """(1, T, E): what the scheme adds to the embeddings."""


def install(model: nn.Module, reader: Reader) -> None:
    """Let `reader` compute the attention and the positions of a model of transformers."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    for name, mask in ((NAME, _no_mask), (NAME_WITH_MASK, _ignored_mask)):
        AttentionInterface.register(name, _attend)
        AttentionMaskInterface.register(name, mask)
    config: Any = model.config
    needs_mask = config.model_type in NEEDS_MASK
    config._attn_implementation = NAME_WITH_MASK if needs_mask else NAME
    known = weakref.ref(reader)  # not a submodule, and no cycle
    modules: list[Any] = list(model.modules())
    for module in modules:
        kind = type(module).__name__
        if kind in FORWARDS:
            module.forward = types.MethodType(FORWARDS[kind], module)
        if hasattr(module, "layer_idx"):
            module.lengthgen_reader = known
        for name, child in list(module.named_children()):
            if type(child).__name__.endswith(ROTARY):
                setattr(module, name, NoRotation(child))
        if kind in TABLES:
            setattr(module, TABLES[kind][0], Codes(known))


def table_of(model: nn.Module) -> Tensor | None:
    """The learned rows of positions, (rows, E), of a model that has them in a table."""
    for module in model.modules():
        if type(module).__name__ in TABLES:
            name, first = TABLES[type(module).__name__]
            return getattr(module, name).weight[first:]
    return None


class NoRotation(nn.Module):
    """Cosines of 1 and sines of 0 for as many channels as the module that it replaces turns."""

    def __init__(self, replaced: Any):
        super().__init__()
        self.channels = 2 * replaced.inv_freq.numel()

    def forward(self, x: Tensor, position_ids: Tensor, *ignored: Any) -> tuple[Tensor, Tensor]:
        """(1, T, R) each, in the dtype of x."""
        one = x.new_ones(1, position_ids.shape[-1], self.channels)
        return one, torch.zeros_like(one)


class Codes(nn.Module):
    """In the place of a table of positions: what the reader's scheme adds."""

    def __init__(self, reader: "weakref.ref[Reader]"):
        super().__init__()
        self.reader = reader

    def forward(self, *ignored: Any, **also: Any) -> Tensor:
        """(1, T, E)"""
        return _alive(self.reader).codes()


def _alive(reader: "weakref.ref[Reader]") -> Reader:
    found = reader()
    assert found is not None, "the model is used without what reads it"
    return found


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **ignored: Any,
) -> tuple[Tensor, None]:
    """transformers' attention function: (B, T, H, D), and no weights."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    reader = _alive(module.lengthgen_reader)
    mixed = reader.attend(module.layer_idx, query, key, value, scale, sliding_window)
    return mixed.transpose(1, 2).contiguous(), None


def _no_mask(*ignored: Any, **also: Any) -> None:
    """Windows are whole and causal: no model needs a mask."""


def _ignored_mask(*ignored: Any, **also: Any) -> Tensor:
    return torch.tensor(False)


# Forwards of attention modules without the interface


def _bloom(self: Any, hidden_states: Tensor, residual: Tensor, *ignored: Any, **also: Any) -> Any:
    q, k, v = self._reshape(self.query_key_value(hidden_states))
    mixed = _alive(self.lengthgen_reader).attend(
        self.layer_idx, q, k, v, self.inv_norm_factor, None
    )
    return self.dense(mixed.transpose(1, 2).flatten(2)) + residual, None


def _mpt(self: Any, hidden_states: Tensor, *ignored: Any, **also: Any) -> Any:
    mixed = self.Wqkv(hidden_states)
    if self.clip_qkv:
        mixed = mixed.clamp(min=-self.clip_qkv, max=self.clip_qkv)
    q, k, v = (
        part.unflatten(-1, (self.n_heads, self.head_dim)).transpose(1, 2)
        for part in mixed.chunk(3, dim=2)
    )
    reader = _alive(self.lengthgen_reader)
    y = reader.attend(self.layer_idx, q, k, v, self.softmax_scale, None)
    return self.out_proj(y.transpose(1, 2).flatten(2)), None


def _falcon(self: Any, hidden_states: Tensor, *ignored: Any, **also: Any) -> Any:
    parts = self._split_heads(self.query_key_value(hidden_states))
    q, k, v = (part.transpose(1, 2) for part in parts)
    reader = _alive(self.lengthgen_reader)
    y = reader.attend(self.layer_idx, q, k, v, self.inv_norm_factor, None)
    return self.dense(y.transpose(1, 2).flatten(2)), None


FORWARDS: dict[str, Callable[..., Any]] = {
    "BloomAttention": _bloom,
    "MptAttention": _mpt,
    "FalconAttention": _falcon,
}
