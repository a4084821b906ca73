"""Small whole models whose attention is far from uniform, and the same in exact arithmetic.

Shape letters: B batch, T tokens, H heads, D head size, V vocabulary.
"""

import contextlib
import copy

import pytest
import torch
from torch import Tensor

from lengthgen import model as models
from lengthgen import schemes
from lengthgen.attention import dispatch
from lengthgen.attention.bias_forms import Gates, Rows, Toeplitz
from lengthgen.attention.kernels import general
from lengthgen.model import ModelConfig, Transformer

from .test_schemes import SMALL, keyed, seen

VOCAB = 11  # of test_schemes.random_tokens
SHAPE = ModelConfig(n_layers=SMALL.n_layers, n_heads=SMALL.n_heads, width=SMALL.width)
LOUDER = 8  # times GPT-2's weights: the standard deviation is then about 1 / sqrt(width)


def real(
    name: str, options: dict, shape: ModelConfig = SHAPE, train_length: int = SMALL.train_length
) -> Transformer:
    """The package's own model around a stirred scheme, ready to evaluate."""
    kind = schemes.load(name)
    model = models.build(
        shape, kind, kind.Config(**options), train_length=train_length, vocab_size=VOCAB, seed=0
    ).eval()
    with torch.no_grad():
        for label, parameter in model.named_parameters():
            if label.startswith("scheme."):
                parameter += 0.3 * torch.randn(parameter.shape, generator=keyed(1)(label))
            elif parameter.ndim > 1:
                parameter *= LOUDER
    model.scheme.begin_step(1, 1)  # as before an evaluation
    return model


def losses(model: Transformer, tokens: Tensor, first: int = 0) -> Tensor:
    """Next-token losses (B, T - 1 - first) in nats of tokens (B, T)."""
    with torch.no_grad():
        return model.losses(tokens[:, :-1], tokens[:, 1:], first)


def logits(model: Transformer, tokens: Tensor) -> Tensor:
    """(B, T, V)."""
    with torch.no_grad():
        return model.logits(model(tokens))


@contextlib.contextmanager
def float64():
    """Whatever a scheme makes float32 on its way, by `.float()`, is float64."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        yield


def exact_losses(model: Transformer, tokens: Tensor, first: int = 0) -> Tensor:
    """`losses` with everything in float64, and attention by its definition, without the kernels.

    Only scored queries attend; `first` > 0 needs a model of one layer and a scheme by rows.
    """
    exact = copy.deepcopy(model).double()
    assert first == 0 or (len(exact.blocks) == 1 and exact.scheme.by_rows)
    with float64(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            dispatch,
            "attend",
            lambda q, k, v, bias, scale, *rest: _structured(q, k, v, bias, scale, rest[-1], first),
        )
        patch.setattr(
            general,
            "attend",
            lambda q, k, v, logits, mix, span, _: _general(q, k, v, logits, mix, span, first),
        )
        return losses(exact, tokens, first)


def _structured(q, k, v, bias, scale, span, first: int) -> Tensor:
    assert q.dtype == torch.float64
    T = q.shape[2]
    scores = q[:, :, first:] @ k.mT * scale
    if isinstance(bias, Toeplitz):
        places = torch.arange(T)
        scores += bias.vector[:, (places[first:, None] - places).clamp(min=0)]
    elif isinstance(bias, Rows):
        scores += bias.block(first, T)
    elif isinstance(bias, Gates):
        differences = bias.cumulative[..., first:, None] - bias.cumulative[..., None, :]
        scores += (
            differences if bias.weights is None else bias.weights[..., first:, None] * differences
        )
    mixed = scores.masked_fill(~seen(span, T)[first:], float("-inf")).softmax(-1) @ v
    return torch.cat((v.new_zeros(*v.shape[:2], first, v.shape[3]), mixed), dim=2)


def _general(q, k, v, logits, mix, span, first: int) -> Tensor:
    T = q.shape[2]
    mixed = mix(
        logits(q[:, :, first:], k, first).masked_fill(~seen(span, T)[first:], float("-inf")),
        v,
        first,
    )
    return torch.cat((v.new_zeros(*v.shape[:2], first, v.shape[3]), mixed), dim=2)
