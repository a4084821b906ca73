"""What others run at the same shape: a plain GPT, and models of x-transformers and transformers.

`GPT` is GPT-2's block as nanoGPT runs it, written from its description (Radford et al., 2019;
Karpathy's nanoGPT): learned positions, pre-norm, torch's scaled_dot_product_attention with
is_causal, exact GELU, no linear biases, tied head, eager.
Peers train with torch's default AdamW and get every process setting that lengthgen makes for itself
(flush-to-zero, threads). Rotary models rotate all channels of a head, as ours do. Checked with
x-transformers 2.31 and transformers 5.23.

Shape letters: B sequences, T tokens, H heads, E width, V vocabulary.
"""

import importlib.metadata
import importlib.util
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from lengthgen.bench.measuring import tell
from lengthgen.bench.workload import Shape

CLIP = 1.0  # as in our own step


class Block(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.qkv(self.norm_1(x)).chunk(3, dim=-1)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm_2(x))))


class GPT(nn.Module):
    """Tokens (B, T) -> logits (B, T, V)."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.tokens = nn.Embedding(shape.vocab, shape.width)
        self.positions = nn.Embedding(shape.length, shape.width)
        self.blocks = nn.ModuleList(Block(shape.width, shape.heads) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:
                writes = name.endswith(("out.weight", "down.weight"))
                residual = (2 * shape.layers) ** -0.5 if writes else 1.0
                nn.init.normal_(parameter, std=0.02 * residual)

    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.tokens(tokens) + self.positions(places)
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.tokens.weight)


def _x_transformers(**options) -> Callable[[Shape], nn.Module]:
    def build(shape: Shape) -> nn.Module:
        from x_transformers import Decoder, TransformerWrapper

        size = shape.width // shape.heads
        rotary = {"rotary_emb_dim": size} if options.get("rotary_pos_emb") else {}
        layers = Decoder(
            dim=shape.width,
            depth=shape.layers,
            heads=shape.heads,
            attn_dim_head=size,
            verbose=False,
            **rotary,
            **options,
        )
        return TransformerWrapper(
            num_tokens=shape.vocab,
            max_seq_len=shape.length,
            use_abs_pos_emb=False,
            tie_embedding=True,
            attn_layers=layers,
        )

    return build


def _common(shape: Shape) -> dict[str, Any]:
    no_tokens = {"bos_token_id": None, "eos_token_id": None}
    return {"vocab_size": shape.vocab, "hidden_size": shape.width, "use_cache": False, **no_tokens}


def _bloom(shape: Shape) -> nn.Module:
    from transformers import BloomConfig, BloomForCausalLM

    config = BloomConfig(n_layer=shape.layers, n_head=shape.heads, **_common(shape))
    return BloomForCausalLM(config)


def _gpt_neox(shape: Shape) -> nn.Module:
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    config = GPTNeoXConfig(
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=4 * shape.width,
        max_position_embeddings=shape.length,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 1.0},
        **_common(shape),
    )
    return GPTNeoXForCausalLM(config)


@dataclass(frozen=True)
class Peer:
    name: str
    package: str  # the distribution to install; empty: none
    build: Callable[[Shape], nn.Module]

    @property
    def module(self) -> str:
        return self.package.replace("-", "_")


X = "x-transformers"
PEERS = (
    Peer("nanogpt_style", "", GPT),
    Peer("x_transformers_rotary", X, _x_transformers(rotary_pos_emb=True, attn_flash=True)),
    Peer("x_transformers_alibi", X, _x_transformers(alibi_pos_bias=True)),
    Peer("x_transformers_alibi_flash", X, _x_transformers(alibi_pos_bias=True, attn_flash=True)),
    Peer("x_transformers_t5", X, _x_transformers(rel_pos_bias=True)),
    Peer("transformers_bloom", "transformers", _bloom),
    Peer("transformers_gpt_neox", "transformers", _gpt_neox),
)


def built(
    shape: Shape, peers: Iterable[Peer], tell: Callable[[str], None] = tell
) -> list[tuple[str, nn.Module]]:
    """(name, model) of every peer that can be built; for any other, one line through `tell`."""
    models, missing = [], set()
    for peer in peers:
        if peer.package and importlib.util.find_spec(peer.module) is None:
            if peer.package not in missing:
                hint = f"its models are left out (pip install {peer.package})"
                tell(f"{peer.package} is not installed: {hint}")
                missing.add(peer.package)
            continue
        try:
            models.append((peer.name, peer.build(shape)))
        except Exception as error:  # another version may raise anything
            version = importlib.metadata.version(peer.package) if peer.package else ""
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            tell(f"{peer.name} is left out: {peer.package} {version} raised {reason}")
    return models


def parameters(model: nn.Module) -> int:
    """Parameters without the plain GPT's table of positions, which costs no products."""
    table = model.positions.weight.numel() if isinstance(model, GPT) else 0
    return sum(p.numel() for p in model.parameters()) - table


def loss(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Mean nats per target token; inputs and targets (B, T)."""
    output = model(inputs)
    logits = output if isinstance(output, Tensor) else output.logits
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def step(
    model: nn.Module, batch_at: Callable[[int], tuple[Tensor, Tensor]], autocast: Callable
) -> Callable[[], float | Tensor]:
    """A call that trains one step: batch, forward, backward, clipping, torch's default AdamW."""
    optimizer = torch.optim.AdamW(model.parameters())
    numbers = itertools.count()
    model.train()

    def call() -> Tensor:
        inputs, targets = batch_at(next(numbers))
        with autocast():
            value = loss(model, inputs, targets)
        value.backward()
        clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return value.detach()

    return call
