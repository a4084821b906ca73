"""Several Transformers of one shape as one program: weights stacked, heads side by side.

One small model leaves a GPU idle: its products are over before the next one is launched. Here the
products of all of them are one batched product, and attention, whose heads know nothing of each
other, gets the heads of all models whose scores have the same form in one call. Every model
computes what it computes alone: on a CPU the same bits, on a GPU up to rounding.

Shape letters: M models, B batch, T positions, N = B T, H heads, D head size, E width, V vocabulary.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from lengthgen.attention import dispatch, linear
from lengthgen.attention.bias_forms import Bias, Gates, Rows, Span, Toeplitz
from lengthgen.model.transformer import Transformer
from lengthgen.schemes.base import Scheme

# What tells attention calls apart: the bias's form, span, scale on scores, sizes of heads.
Form = tuple[str, Span | None, float, tuple[int, int]]


def obstacle(model: Transformer) -> str:
    """Why this model cannot be one of several in a program; "" if it can."""
    scheme = model.scheme
    if any(scheme.general(layer) for layer in range(model.config.n_layers)):
        return "its scheme computes the scores itself"
    if model.config.dropout > 0:
        return f"dropout={model.config.dropout:g} draws at random"
    tokens = torch.zeros(1, 2, dtype=torch.int64, device=model.embedding.weight.device)
    before = torch.get_rng_state()
    scheme.train()
    scheme.read(tokens)
    if not torch.equal(before, torch.get_rng_state()):
        torch.set_rng_state(before)
        return "its scheme draws positions at random"
    return ""


class Stack:
    """M Transformers that agree in everything but their scheme, their weights and their data.

    From here on the weights of `models` are views of the stacked ones: what changes these changes
    the models, which can be evaluated and saved as ever. The schemes keep parameters of their own.
    """

    def __init__(self, models: Sequence[Transformer]):
        self.models: Sequence[Transformer] = list(models)
        self.config = models[0].config
        self.schemes: list[Scheme] = [model.scheme for model in models]
        named = [dict(model.named_parameters()) for model in models]
        self.weights: dict[str, nn.Parameter] = {}
        for name in named[0]:
            if name.startswith("scheme."):
                continue
            stacked = torch.stack([parameters[name].detach() for parameters in named])
            self.weights[name] = nn.Parameter(stacked)
            for parameters, one in zip(named, stacked, strict=True):
                parameters[name].data = one

    def total_losses(
        self, tokens: Int[Tensor, "M B T"], targets: Int[Tensor, "M B T"]
    ) -> list[Float[Tensor, ""]]:
        """Of each model the sum of its losses, in nats, as `Transformer.total_loss` has it."""
        hidden = self.hidden(tokens).flatten(1, 2)
        readout = self.weights["embedding.weight" if self.config.tie_head else "head.weight"]
        logits = self._product(hidden, readout).float()
        losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        return [each.sum() for each in losses.view(len(tokens), -1)]

    def hidden(self, tokens: Int[Tensor, "M B T"]) -> Float[Tensor, "M B T E"]:
        with torch.autocast(tokens.device.type, enabled=False):
            positions = [scheme.read(t) for scheme, t in zip(self.schemes, tokens, strict=True)]
            x = self._embedded(tokens, positions)
            biases = [scheme.biases(p) for scheme, p in zip(self.schemes, positions, strict=True)]
        merge = _Merged()
        for layer in range(self.config.n_layers):
            block, bias = f"blocks.{layer}.", [each[layer] for each in biases]
            y = self._normed(x, block + "attention_norm.weight")
            x = x + self._attention(y, layer, positions, bias, merge)
            y = self._normed(x, block + "mlp_norm.weight").flatten(1, 2)
            x = x + self._mlp(y, block + "mlp.").view(x.shape)
        return self._normed(x, "norm.weight")

    def _embedded(
        self, tokens: Int[Tensor, "M B T"], positions: list[Tensor]
    ) -> Float[Tensor, "M B T E"]:
        table = self.weights["embedding.weight"]
        first = table.shape[1] * torch.arange(len(tokens), device=tokens.device)
        x = F.embedding(tokens + first[:, None, None], table.flatten(0, 1))
        each = zip(self.schemes, x, positions, strict=True)
        return torch.stack([scheme.embed(one, p) for scheme, one, p in each])

    def _attention(
        self,
        x: Float[Tensor, "M B T E"],
        layer: int,
        positions: list[Tensor],
        biases: list[Bias | None],
        merge: "_Merged",
    ) -> Float[Tensor, "M B T E"]:
        block = f"blocks.{layer}.attention."
        qkv = self._product(x.flatten(1, 2), self.weights[block + "qkv.weight"])
        heads = qkv.view(*x.shape[:3], 3, self.config.n_heads, -1).permute(3, 0, 1, 4, 2, 5)
        calls: dict[Form, list[int]] = {}
        parts: list[tuple[Tensor, Tensor, Tensor]] = []
        for m, scheme in enumerate(self.schemes):
            q, k, v = (part[m] for part in heads)
            q, k = (self._head_normed(part, block + n, m) for part, n in ((q, "q_"), (k, "k_")))
            with torch.autocast(x.device.type, enabled=False):
                q, k = scheme.rotate(q, k, positions[m], layer)
                q, k = scheme.steer(q, k, x[m], layer)
                if (gates := scheme.gates(x[m], layer)) is not None:
                    weights = scheme.gate_weights(x[m], layer)
                    biases[m] = Gates(gates.double().cumsum(-1), weights)
            parts.append((q, k, v))
            calls.setdefault(_form(scheme, q, v, biases[m], layer), []).append(m)
        out: list[Tensor] = [x] * len(self.schemes)
        kernel = self.models[0].kernel
        for (_, span, scale, _), members in calls.items():
            # The heads of these models, side by side.
            q, k, v = (torch.cat([parts[m][i] for m in members], 1) for i in range(3))
            bias = merge(tuple(biases[m] for m in members))
            y = dispatch.attend(q, k, v, bias, scale, 0.0, kernel, span)
            for m, one in zip(members, y.chunk(len(members), 1), strict=True):
                out[m] = one.transpose(1, 2).flatten(2)
        y = self._product(torch.stack(out).flatten(1, 2), self.weights[block + "out.weight"])
        return y.view(x.shape)

    def _mlp(self, x: Float[Tensor, "M N E"], block: str) -> Float[Tensor, "M N E"]:
        up = self._product(x, self.weights[block + "up.weight"])
        if self.config.activation == "swiglu":
            gate, value = up.chunk(2, dim=-1)
            up = F.silu(gate) * value
        else:
            up = F.gelu(up)
        return self._product(up, self.weights[block + "down.weight"])

    def _product(self, x: Float[Tensor, "M N I"], weight: Tensor) -> Float[Tensor, "M N O"]:
        """x W^T of each model. oneDNN, where it is the faster library, has no batched one."""
        forced = self.models[0].linear
        if linear.chosen(x[0], weight[0], forced) == "onednn":
            each = zip(x, weight, strict=True)
            return torch.stack([linear.linear(one, w, forced) for one, w in each])
        return torch.bmm(x, weight.transpose(1, 2))

    def _normed(self, x: Float[Tensor, "M B T E"], name: str) -> Float[Tensor, "M B T E"]:
        weight = self.weights[name]
        if x.device.type != "cpu":
            return self._norm(x, None) * weight[:, None, None]
        # By torch's own kernel, which takes the weight of one model: the bits of one alone.
        return torch.stack([self._norm(one, w) for one, w in zip(x, weight, strict=True)])

    def _head_normed(self, x: Float[Tensor, "B H T D"], name: str, m: int) -> Tensor:
        if not self.config.qk_norm:
            return x
        return self._norm(x, self.weights[name + "norm.weight"][m])

    def _norm(self, x: Tensor, weight: Tensor | None) -> Tensor:
        size = [x.shape[-1]]
        if self.config.norm == "layernorm":
            return F.layer_norm(x, size, weight)
        return F.rms_norm(x, size, weight, eps=1e-5)


def _form(scheme: Scheme, q: Tensor, v: Tensor, bias: Bias | None, layer: int) -> Form:
    kind = type(bias).__name__
    if isinstance(bias, Toeplitz) and bias.vector.requires_grad:
        kind = "Toeplitz, trained"
    elif isinstance(bias, Gates) and bias.weights is not None:
        kind = "Gates, weighted"
    return kind, scheme.span(layer), scheme.score_scale, (q.shape[-1], v.shape[-1])


class _Merged:
    """Biases of several models as one, over the heads of all; made once where layers share them.

    A bias object that layers share stays one object, as attention's kernels want it.
    """

    def __init__(self) -> None:
        self.made: dict[tuple[int, ...], tuple[Any, Bias]] = {}

    def __call__(self, biases: tuple[Bias | None, ...]) -> Bias | None:
        if biases[0] is None:
            return None
        key = tuple(id(bias) for bias in biases)
        if key not in self.made:
            # The originals are kept with it: an id is free again once its object is gone.
            self.made[key] = biases, _merged(cast(tuple[Bias, ...], biases))
        return self.made[key][1]


def _merged(biases: Sequence[Bias]) -> Bias:
    if len(biases) == 1:
        return biases[0]
    if isinstance(biases[0], Toeplitz):
        return Toeplitz(torch.cat([cast(Toeplitz, bias).vector for bias in biases]))
    if isinstance(biases[0], Gates):
        gates = cast(Sequence[Gates], biases)
        weights = [each.weights for each in gates if each.weights is not None]
        sums = torch.cat([each.cumulative for each in gates], 1)
        return Gates(sums, torch.cat(weights, 1) if weights else None)
    blocks: list[Callable[[int, int], Tensor]] = [bias.block for bias in biases]
    return Rows(lambda first, last: torch.cat([block(first, last) for block in blocks]))
