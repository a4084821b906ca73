"""The attention weights of a trained model, from its scheme's hooks, in linear memory.

The model runs with its fast kernels; beside every attention call its weights are computed once
more, in chunks of query rows, in float32.

Shape letters: B batch, H heads, T positions, R rows of queries, S keys, D head size.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from lengthgen.attention.bias_forms import Bias, Gates
from lengthgen.attention.kernels.windows_and_sinks import visible
from lengthgen.model import Attention, Transformer
from lengthgen.schemes.base import Scheme

SCORES_AT_ONCE = 2**21  # elements of one chunk's scores: 8 MiB

# Layer, first row, weights (B, H, R, S) of rows first..first+R-1 and keys 0..S-1.
Consume = Callable[[int, int, Tensor], None]


@contextmanager
def watched(model: Transformer, consume: Consume) -> Iterator[None]:
    """Every forward pass also hands each layer's weights to `consume`, chunk by chunk."""

    def before(attention: Attention, inputs: tuple) -> None:
        for first, weights in chunks(attention, *inputs):
            consume(attention.layer, first, weights)

    attentions = [module for module in model.modules() if isinstance(module, Attention)]
    hooks = [attention.register_forward_pre_hook(before) for attention in attentions]
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
    # a mixture that cannot work by rows gets the whole window, whatever memory that takes
    rows = T if general and not scheme.by_rows else max(1, min(T, SCORES_AT_ONCE // (B * H * T)))
    softmax = not general or _is_softmax(scheme, v, layer)
    for first in range(0, T, rows):
        last = min(first + rows, T)
        queries, keys = q[:, :, first:last], k[:, :, :last]
        if general:
            scores = scheme.logits(queries, keys, x, positions, layer, first)
        else:
            scores = queries @ keys.mT * scheme.score_scale
            if bias is not None:
                scores = scores + bias.block(first, last).to(scores.dtype)
        seen = visible(first, last, scheme.span(layer), x.device)
        scores = scores.masked_fill(~seen, float("-inf"))
        if softmax:
            yield first, scores.softmax(-1)
        else:
            yield first, _by_columns(scheme, scores, v[:, :, :last], layer, first)


def _is_softmax(scheme: Scheme, v: Tensor, layer: int) -> bool:
    """Whether `mix` weighs values by the softmax of the scores, tried on eight rows."""
    v = v[:1, :, :8]
    R = v.shape[2]
    scores = torch.linspace(-2, 2, R * R, device=v.device).view(R, R).expand(1, v.shape[1], R, R)
    seen = visible(0, R, None, v.device)
    scores = scores.masked_fill(~seen, float("-inf"))
    # a scheme may add a term without values (Shaw's vectors): the difference is free of it
    without_values = scheme.mix(scores, torch.zeros_like(v), layer, 0)
    weighed = scheme.mix(scores, v, layer, 0) - without_values
    near = 1e-5 * float(v.abs().max())
    return torch.allclose(weighed, scores.softmax(-1) @ v, rtol=1e-3, atol=near)


def _by_columns(scheme: Scheme, scores: Tensor, v: Tensor, layer: int, first: int) -> Tensor:
    """Weights (B, H, R, S) of another mixture: how the output moves with each value."""
    try:
        return _derivatives(scheme, scores, v, v.shape[2], layer, first)  # all keys at once
    except RuntimeError:  # the mixture takes only values of the head's size: D keys at a time
        return _derivatives(scheme, scores, v, v.shape[3], layer, first)


def _derivatives(
    scheme: Scheme, scores: Tensor, v: Tensor, width: int, layer: int, first: int
) -> Tensor:
    S = v.shape[2]
    values = v.new_zeros(*v.shape[:2], S, width)
    without_values = scheme.mix(scores, values, layer, first)
    columns = []
    for start in range(0, S, width):
        n = min(width, S - start)
        # key start + i has the unit vector i as its value, all other keys zero
        values.zero_()[:, :, start : start + n, :n] = torch.eye(n, device=v.device)
        columns.append((scheme.mix(scores, values, layer, first) - without_values)[..., :n])
    return torch.cat(columns, dim=-1)
