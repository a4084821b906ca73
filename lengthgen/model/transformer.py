"""A decoder-only Transformer, pre-norm (GPT-2's form by default). It calls a scheme's hooks and
names no scheme.

Shape letters: B batch, T positions, H heads, D head size (a scheme may widen it for queries and
keys), Dv size of a value, E width, V vocabulary.
"""

from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lengthgen.attention import dispatch, linear
from lengthgen.attention.bias_forms import Bias, Gates
from lengthgen.attention.continuation import Continuation
from lengthgen.attention.kernels import cross_entropy
from lengthgen.model.settings import ModelConfig
from lengthgen.schemes.base import Scheme

# Logits (rows x V) held at a time without gradients: 64 MiB in float32, on a GPU 1 GiB.
SCORED_AT_ONCE = {"cpu": 2**24, "cuda": 2**28}


def make_norm(kind: str, size: int) -> nn.Module:
    return nn.LayerNorm(size, bias=False) if kind == "layernorm" else nn.RMSNorm(size, eps=1e-5)


class Attention(nn.Module):
    """Causal multi-head self-attention."""

    def __init__(self, config: ModelConfig, layer: int):
        super().__init__()
        self.layer, self.n_heads, self.dropout = layer, config.n_heads, config.dropout
        self.kernel = "auto"  # of attention.KERNELS
        self.qkv = linear.Linear(config.width, 3 * config.width)
        self.out = linear.Linear(config.width, config.width)
        self.q_norm, self.k_norm = (
            make_norm(config.norm, config.width // config.n_heads)
            if config.qk_norm
            else nn.Identity()
            for _ in range(2)
        )

    def forward(
        self, x: Float[Tensor, "B T E"], positions: Tensor, bias: Bias | None, scheme: Scheme
    ) -> Float[Tensor, "B T E"]:
        B, T, E = x.shape
        q, k, v = self._heads(x)
        with torch.autocast(x.device.type, enabled=False):
            q, k = scheme.rotate(q, k, positions, self.layer)
            q, k = scheme.steer(q, k, x, self.layer)
        if scheme.general(self.layer):
            y = self._general(q, k, v, x, positions, scheme)
        else:
            y = self._structured(q, k, v, x, bias, scheme)
        return self.out(y.transpose(1, 2).reshape(B, T, E))

    def continued(self, x: Float[Tensor, "B R E"], cache: Continuation) -> Float[Tensor, "B R E"]:
        """Attention of new tokens to themselves and to those that the cache holds."""
        y = cache.attend(*self._heads(x), x, self.layer)
        return self.out(y.transpose(1, 2).flatten(2))

    def _heads(
        self, x: Float[Tensor, "B T E"]
    ) -> tuple[Float[Tensor, "B H T D"], Float[Tensor, "B H T D"], Float[Tensor, "B H T Dv"]]:
        """Queries, keys and values, before any position."""
        B, T, _ = x.shape
        q, k, v = (
            part.view(B, T, self.n_heads, -1).transpose(1, 2)
            for part in self.qkv(x).chunk(3, dim=-1)
        )
        return self.q_norm(q), self.k_norm(k), v

    def _structured(
        self,
        q: Float[Tensor, "B H T D"],
        k: Float[Tensor, "B H T D"],
        v: Float[Tensor, "B H T Dv"],
        x: Float[Tensor, "B T E"],
        bias: Bias | None,
        scheme: Scheme,
    ) -> Float[Tensor, "B H T Dv"]:
        with torch.autocast(x.device.type, enabled=False):
            gates = scheme.gates(x, self.layer)
            if gates is not None:
                # In float64: attention takes differences of sums over thousands of tokens.
                bias = Gates(gates.double().cumsum(-1), scheme.gate_weights(x, self.layer))
        dropout = self.dropout if self.training else 0.0
        span = scheme.span(self.layer)
        return dispatch.attend(q, k, v, bias, scheme.score_scale, dropout, self.kernel, span)

    def _general(
        self,
        q: Float[Tensor, "B H T D"],
        k: Float[Tensor, "B H T D"],
        v: Float[Tensor, "B H T Dv"],
        x: Float[Tensor, "B T E"],
        positions: Tensor,
        scheme: Scheme,
    ) -> Float[Tensor, "B H T Dv"]:
        """The scheme's own scores and mixture. Dropout then acts on outputs only (in Block)."""
        layer = self.layer
        return dispatch.attend_general(
            q,
            k,
            v,
            lambda q, k, first: scheme.logits(q, k, x, positions, layer, first),
            lambda logits, v, first: scheme.mix(logits, v, layer, first),
            scheme.span(layer),
            scheme.by_rows,
            [x, positions, *scheme.parameters()],
        )


class MLP(nn.Module):
    """Position-wise feed-forward network, GELU (exact) or SwiGLU."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.gated = config.activation == "swiglu"
        self.up = linear.Linear(config.width, config.hidden * (2 if self.gated else 1))
        self.down = linear.Linear(config.hidden, config.width)

    def forward(self, x: Float[Tensor, "B T E"]) -> Float[Tensor, "B T E"]:
        if self.gated:
            gate, value = self.up(x).chunk(2, dim=-1)
            return self.down(F.silu(gate) * value)
        return self.down(F.gelu(self.up(x)))


class Block(nn.Module):
    def __init__(self, config: ModelConfig, layer: int):
        super().__init__()
        self.attention_norm = make_norm(config.norm, config.width)
        self.attention = Attention(config, layer)
        self.mlp_norm = make_norm(config.norm, config.width)
        self.mlp = MLP(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Float[Tensor, "B T E"], positions: Tensor, bias: Bias | None, scheme: Scheme
    ) -> Float[Tensor, "B T E"]:
        x = x + self.dropout(self.attention(self.attention_norm(x), positions, bias, scheme))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))

    def continued(self, x: Float[Tensor, "B R E"], cache: Continuation) -> Float[Tensor, "B R E"]:
        x = x + self.attention.continued(self.attention_norm(x), cache)
        return x + self.mlp(self.mlp_norm(x))


class Transformer(nn.Module):
    """Tokens to hidden states; `logits` and `losses` read them out."""

    scheme: Scheme

    def __init__(self, config: ModelConfig, scheme: Scheme, vocab_size: int):
        super().__init__()
        self.config = config
        self.scheme = scheme
        self.embedding = nn.Embedding(vocab_size, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layers))
        self.norm = make_norm(config.norm, config.width)
        self.head = None if config.tie_head else linear.Linear(config.width, vocab_size)
        self.kernel = "auto"  # of dispatch.KERNELS, for attention
        self.linear = "auto"  # of linear.KERNELS, for the head

    def forward(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T E"]:
        # Positions and biases lose their meaning in bfloat16: a scheme never runs under autocast.
        with torch.autocast(tokens.device.type, enabled=False):
            positions = self.scheme.read(tokens)
            x = self.dropout(self.scheme.embed(self.embedding(tokens), positions))
            biases = self.scheme.biases(positions)
        for block, bias in zip(self.blocks, biases, strict=True):
            x = block(x, positions, bias, self.scheme)
        return self.norm(x)

    def continued(self, tokens: Int[Tensor, "B R"], cache: Continuation) -> Float[Tensor, "B R E"]:
        """Hidden states of tokens that follow those of the cache, which then holds them too."""
        with torch.autocast(tokens.device.type, enabled=False):
            x = cache.embed(self.embedding(tokens), tokens)
        for block in self.blocks:
            x = cast(Block, block).continued(x, cache)
        return self.norm(x)

    def use_kernel(self, name: str) -> None:
        """Force this kernel, one of dispatch.KERNELS, on every attention call."""
        self.kernel = name
        for module in self.modules():
            if isinstance(module, Attention):
                module.kernel = name

    def use_linear(self, name: str) -> None:
        """Force this kernel, one of linear.KERNELS, on every product with a weight of the model."""
        self.linear = name
        for module in self.modules():
            if isinstance(module, linear.Linear):
                module.kernel = name

    def logits(self, hidden: Float[Tensor, "*rows E"]) -> Float[Tensor, "*rows V"]:
        return linear.linear(hidden, self._readout, self.linear)

    def losses(
        self, tokens: Int[Tensor, "B T"], targets: Int[Tensor, "B T"], first: int = 0
    ) -> Float[Tensor, "B T-{first}"]:
        """-ln p(target) in nats, float32, at positions first..T-1; 0 where it is batches.UNSCORED.

        Without gradients, logits of only a slice of rows exist at a time. With them autograd keeps
        all logits, so slices would save nothing.
        """
        hidden = self(tokens)[:, first:].flatten(0, 1)
        rows = len(hidden) if torch.is_grad_enabled() else self._rows_at_once
        losses = [
            F.cross_entropy(self.logits(h).float(), t, reduction="none")
            for h, t in zip(
                hidden.split(rows), targets[:, first:].flatten().split(rows), strict=True
            )
        ]
        return torch.cat(losses).view(len(tokens), -1)

    def total_loss(
        self, tokens: Int[Tensor, "B T"], targets: Int[Tensor, "B T"]
    ) -> Float[Tensor, ""]:
        """The sum of `losses`, for training. On a GPU the logits of all tokens never exist."""
        if not cross_entropy.serves(tokens.device):
            return self.losses(tokens, targets).sum()
        hidden = self(tokens).flatten(0, 1)
        return cross_entropy.total(hidden, self._readout, targets.flatten())

    @torch.no_grad()
    def losses_and_hits(
        self, tokens: Int[Tensor, "B T"], targets: Int[Tensor, "B T"], first: int = 0
    ) -> tuple[Float[Tensor, "B T-{first}"], Bool[Tensor, "B T-{first}"]]:
        """`losses`, and whether the target is the token that the model thinks most likely."""
        hidden = self(tokens)[:, first:].flatten(0, 1)
        wanted = targets[:, first:].flatten()
        losses, hits, rows = [], [], self._rows_at_once
        for h, t in zip(hidden.split(rows), wanted.split(rows), strict=True):
            logits = self.logits(h).float()
            losses.append(F.cross_entropy(logits, t, reduction="none"))
            hits.append(logits.argmax(-1) == t)
        return torch.cat(losses).view(len(tokens), -1), torch.cat(hits).view(len(tokens), -1)

    @property
    def _readout(self) -> Float[Tensor, "V E"]:
        return (self.embedding if self.head is None else self.head).weight

    @property
    def _rows_at_once(self) -> int:
        weight = self.embedding.weight
        held = SCORED_AT_ONCE.get(weight.device.type, SCORED_AT_ONCE["cpu"])
        return max(1, held // len(weight))
