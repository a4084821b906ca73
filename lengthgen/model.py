"""A decoder-only Transformer, pre-norm (GPT-2's form by default). It calls a scheme's hooks and
names no scheme.

Every weight is drawn from a generator keyed by (seed, parameter name). For one seed all weights but
the scheme's are bit-identical across schemes, so that their differences are paired.

Shape letters: B batch, T positions, H heads, D head size (a scheme may widen it for queries and
keys), Dv size of a value, E width, V vocabulary.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lengthgen.attention import dispatch, linear
from lengthgen.attention.bias_forms import Bias, Gates
from lengthgen.attention.kernels import cross_entropy
from lengthgen.config import dataclass_from
from lengthgen.errors import TooLargeError, is_out_of_memory
from lengthgen.schemes.base import Dimensions, Scheme

# Logits (rows x V) held at a time without gradients: 64 MiB in float32, on a GPU 1 GiB.
SCORED_AT_ONCE = {"cpu": 2**24, "cuda": 2**28}

MOST_LAYERS = 1000
BYTES_A_WEIGHT = 4  # float32


@dataclass
class ModelConfig:
    n_layers: int = 4  # Transformer blocks
    n_heads: int = 4  # attention heads
    width: int = 128  # size of the residual stream; a multiple of n_heads
    mlp_ratio: float = (
        4.0  # hidden size of the MLP / width; SwiGLU: 2/3 of it, for equal parameters
    )
    norm: str = "layernorm"  # layernorm | rmsnorm
    activation: str = "gelu"  # gelu | swiglu
    tie_head: bool = True  # output head = token embedding
    qk_norm: bool = False  # normalise queries and keys per head; this changes extrapolation
    dropout: float = 0.0  # on embeddings, attention and MLP outputs, in training only

    def __post_init__(self):
        dataclass_from.limit(self, "model", "> 0", "n_layers", "n_heads", "width", "mlp_ratio")
        dataclass_from.check(
            0 <= self.dropout < 1, f"model.dropout={self.dropout}: expected 0 <= dropout < 1"
        )
        dataclass_from.check(
            self.width % self.n_heads == 0 and (self.width // self.n_heads) % 2 == 0,
            f"model.width={self.width}, model.n_heads={self.n_heads}: "
            "expected width / n_heads to be an even whole number",
        )
        dataclass_from.check(
            self.n_layers <= MOST_LAYERS,
            f"model.n_layers={self.n_layers}: expected at most {MOST_LAYERS}",
        )
        dataclass_from.check(
            self.hidden >= 1,
            f"model.mlp_ratio={self.mlp_ratio}: expected a hidden layer of 1 or more, at "
            f"model.width={self.width}",
        )
        dataclass_from.choice("model.norm", self.norm, ("layernorm", "rmsnorm"))
        dataclass_from.choice("model.activation", self.activation, ("gelu", "swiglu"))

    @property
    def hidden(self) -> int:
        """Size of the MLP's hidden layer."""
        return int(self.mlp_ratio * self.width * (2 / 3 if self.activation == "swiglu" else 1))


def refuse_too_large(config: ModelConfig, vocab_size: int = 0) -> None:
    """TooLargeError for weights that this machine's memory cannot hold, before any is made."""
    per_layer = 4 * config.width**2 + 2 * config.hidden * config.width
    count = config.n_layers * per_layer + vocab_size * config.width
    room = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if BYTES_A_WEIGHT * count > room:
        raise TooLargeError(
            f"model.n_layers={config.n_layers}, model.width={config.width}, "
            f"model.mlp_ratio={config.mlp_ratio:g}: {count:.3g} weights of {BYTES_A_WEIGHT} bytes "
            f"do not fit in this machine's {room / 2**30:.0f} GiB; choose a smaller model"
        )


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
        q, k, v = (
            part.view(B, T, self.n_heads, -1).transpose(1, 2)
            for part in self.qkv(x).chunk(3, dim=-1)
        )
        q, k = self.q_norm(q), self.k_norm(k)
        with torch.autocast(x.device.type, enabled=False):
            q, k = scheme.rotate(q, k, positions, self.layer)
            q, k = scheme.steer(q, k, x, self.layer)
        if scheme.general(self.layer):
            y = self._general(q, k, v, x, positions, scheme)
        else:
            y = self._structured(q, k, v, x, bias, scheme)
        return self.out(y.transpose(1, 2).reshape(B, T, E))

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

    def use_kernel(self, name: str) -> None:
        """Force this kernel, one of dispatch.KERNELS, on every attention call."""
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


def build(
    config: ModelConfig,
    make_scheme: Callable[[Any, Dimensions], Scheme],
    scheme_config: Any,
    *,
    train_length: int,
    vocab_size: int,
    seed: int,
) -> Transformer:
    """A Transformer whose every weight is a function of (seed, its name, its shape).

    make_scheme: a scheme's class, or one that wraps it in modifiers.
    """
    refuse_too_large(config, vocab_size)
    dimensions = Dimensions(
        config.n_layers, config.n_heads, config.width // config.n_heads, config.width, train_length
    )
    try:
        model = Transformer(config, make_scheme(scheme_config, dimensions), vocab_size)
        initialise(model, seed)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise TooLargeError(
            "out of memory while the model was made; choose a smaller one, or smaller options of "
            "its scheme"
        ) from error
    return model


def initialise(model: Transformer, seed: int) -> None:
    """GPT-2's weights: N(0, 0.02^2), and norms of 1; a scheme initialises its own parameters.

    Where weights write to the residual stream, 0.02 is divided by sqrt(2 n_layers).
    """
    residual = (2 * model.config.n_layers) ** -0.5
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("scheme."):
                continue
            if parameter.ndim == 1:
                parameter.fill_(1.0)
            else:
                writes = name.endswith(("attention.out.weight", "mlp.down.weight"))
                std = 0.02 * (residual if writes else 1.0)
                parameter.normal_(0.0, std, generator=keyed_generator(seed, name))
        model.scheme.initialise(lambda name: keyed_generator(seed, f"scheme.{name}"))


def keyed_generator(seed: int, name: str) -> torch.Generator:
    """A CPU generator that is a function of (seed, name) alone."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def parameter_counts(model: Transformer) -> dict[str, int]:
    """Numbers of parameters: `positional` (the scheme's), `total`."""
    positional = sum(p.numel() for p in model.scheme.parameters())
    return {"positional": positional, "total": sum(p.numel() for p in model.parameters())}
