"""The attention weights of a trained model, written out from the scheme's own hooks, in memory linear in the window.

The model itself runs as always, with its fast kernels; beside every attention call its weights are computed anew, a chunk of query rows at
a time, in float32, and handed on. tests/test_diagnostics.py compares them with what the kernels return, for every scheme.

Shape letters: B batch, H heads, T positions, R rows of queries, S keys that they may see, D head size.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Bias, Gates
from lengthgen.attention.kernels import windows_and_sinks
from lengthgen.model import Attention, Transformer
from lengthgen.schemes.base import Scheme

SCORES_AT_ONCE = 2**21  # elements of one chunk's scores: 8 MiB

Consume = Callable[
    [int, int, Tensor], None
]  # layer, first row, weights (B, H, R, S) of rows first..first+R-1 and keys 0..S-1


@contextmanager
def watched(model: Transformer, consume: Consume) -> Iterator[None]:
    """Within the block every forward pass of `model` also hands each layer's weights to `consume`, row chunks in order."""

    def before(attention: Attention, given: tuple) -> None:
        for first, weights in chunks(attention, *given):
            consume(attention.layer, first, weights)

    hooks = [block.attention.register_forward_pre_hook(before) for block in model.blocks]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def chunks(
    attention: Attention, x: Tensor, positions: Tensor, bias: Bias | None, scheme: Scheme
) -> Iterator[tuple[int, Tensor]]:
    """(first row, weights (B, H, R, S)) of the arguments that the model gives `attention`."""
    B, T, _ = x.shape
    H, layer = attention.n_heads, attention.layer
    q, k, v = (part.view(B, T, H, -1).transpose(1, 2) for part in attention.qkv(x).chunk(3, dim=-1))
    q, k = scheme.rotate(attention.q_norm(q), attention.k_norm(k), positions, layer)
    q, k = scheme.steer(q, k, x, layer)
    general = scheme.general(layer)
    if not general and (summed := scheme.gates(x, layer)) is not None:
        bias = Gates(summed.double().cumsum(-1), scheme.gate_weights(x, layer))
    rows = T if general and not scheme.by_rows else max(1, min(T, SCORES_AT_ONCE // (B * H * T)))
    softmax = not general or _is_softmax(scheme, v, layer)
    for first in range(0, T, rows):
        last = min(first + rows, T)
        some, keys = q[:, :, first:last], k[:, :, :last]
        if general:
            scores = scheme.logits(some, keys, x, positions, layer, first)
        else:
            scores = some @ keys.mT * scheme.score_scale
            scores = scores if bias is None else scores + bias.block(first, last).to(scores.dtype)
        scores = scores.masked_fill(
            ~windows_and_sinks.seen(first, last, scheme.span(layer), x.device), float("-inf")
        )
        yield (
            first,
            scores.softmax(-1)
            if softmax
            else _by_columns(scheme, scores, v[:, :, :last], layer, first),
        )


def _is_softmax(scheme: Scheme, v: Tensor, layer: int) -> bool:
    """Whether `mix` weighs values by the softmax of the scores (and perhaps adds something that no value decides). Asked of eight rows."""
    some = v[:1, :, :8]
    R = some.shape[2]
    scores = torch.linspace(-2, 2, R * R, device=v.device).view(R, R).expand(1, v.shape[1], R, R)
    scores = scores.masked_fill(~windows_and_sinks.seen(0, R, None, v.device), float("-inf"))
    moved = scheme.mix(scores, some, layer, 0) - scheme.mix(
        scores, torch.zeros_like(some), layer, 0
    )
    return torch.allclose(
        moved, scores.softmax(-1) @ some, rtol=1e-3, atol=1e-5 * float(some.abs().max())
    )


def _by_columns(scheme: Scheme, scores: Tensor, v: Tensor, layer: int, first: int) -> Tensor:
    """Weights (B, H, R, S) of a mixture that is no softmax: how much the output moves with the value of each key.

    All keys at once, or where the mixture takes only values of the head's size (B, H, S, D), D keys at a time.
    """
    try:
        return _moved(scheme, scores, v, v.shape[2], layer, first)
    except RuntimeError:
        return _moved(scheme, scores, v, v.shape[3], layer, first)


def _moved(scheme: Scheme, scores: Tensor, v: Tensor, width: int, layer: int, first: int) -> Tensor:
    S = v.shape[2]
    unit = v.new_zeros(*v.shape[:2], S, width)
    rest = scheme.mix(scores, unit, layer, first)
    parts = []
    for start in range(0, S, width):
        some = min(width, S - start)
        unit.zero_()[:, :, start : start + some, :some] = torch.eye(some, device=v.device)
        parts.append((scheme.mix(scores, unit, layer, first) - rest)[..., :some])
    return torch.cat(parts, dim=-1)
