"""What is measured: the shape of a model, random tokens in the place of text, and the device and precision that it runs on.

Random tokens cost what text costs: no kernel here looks at values, but for denormal numbers, which positional biases alone produce.

Shape letters: B sequences in a batch, T tokens in a window.
"""

import contextlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lengthgen import model as models
from lengthgen import schemes
from lengthgen.attention import dispatch
from lengthgen.attention import linear as products
from lengthgen.config import dataclass_from
from lengthgen.data import batches
from lengthgen.data.tokens import TokenStore
from lengthgen.errors import ConfigError

TRAIN_TOKENS = 2**20  # tokens that training windows are drawn from


@dataclass(frozen=True)
class Shape:
    """One model and one batch. The MLP is four times as wide as the model, the head is tied."""

    layers: int = 6
    width: int = 256
    heads: int = 8
    length: int = 512  # tokens in a training window
    batch: int = 8  # windows in a training step
    vocab: int = 257  # bytes and the begin-of-document token

    def __post_init__(self):
        for name, value in vars(self).items():
            dataclass_from.check(value > 0, f"--{name} {value}: expected a positive integer")
        dataclass_from.check(
            self.width % self.heads == 0 and (self.width // self.heads) % 2 == 0,
            f"--width {self.width}, --heads {self.heads}: expected width / heads to be an even whole number",
        )

    @property
    def model(self) -> models.ModelConfig:
        return models.ModelConfig(n_layers=self.layers, n_heads=self.heads, width=self.width)

    def longer(self) -> "Shape":
        """Twice the window, half the batch, two thirds of the layers: configuration C of references/performance.md where this is B."""
        return Shape(
            max(1, 2 * self.layers // 3),
            self.width,
            self.heads,
            2 * self.length,
            max(1, self.batch // 2),
            self.vocab,
        )


@dataclass(frozen=True)
class Place:
    """Where and in which precision: float32 on CPU, bfloat16 autocast on CUDA unless asked otherwise."""

    device: torch.device
    precision: str  # "fp32" | "bf16"
    kernel: str = "auto"  # attention kernel of our models, one of attention.KERNELS
    linear: str = "auto"  # what multiplies their activations and weights, one of linear.KERNELS

    def autocast(self) -> contextlib.AbstractContextManager:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.precision == "bf16" else torch.float32


def place(device: str, precision: str, kernel: str = "auto", linear: str = "auto") -> Place:
    """`auto` is CUDA where there is one, and the precision that a run would use there. ConfigError if CUDA is asked for and missing."""
    dataclass_from.choice("--kernel", kernel, dispatch.KERNELS)
    dataclass_from.choice("--linear", linear, products.KERNELS)
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "--device cuda: this machine has no usable NVIDIA GPU; give --device cpu or --device auto"
        )
    found = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
    return Place(
        found,
        precision if precision != "auto" else ("bf16" if found.type == "cuda" else "fp32"),
        kernel,
        linear,
    )


def build(scheme: str, shape: Shape, where: Place) -> models.Transformer:
    """Our model with one scheme's defaults, as a run builds it."""
    scheme_class = schemes.load(scheme)
    model = models.build(
        shape.model,
        scheme_class,
        scheme_class.Config(),
        train_length=shape.length,
        vocab_size=shape.vocab,
        seed=0,
    )
    model.use_kernel(where.kernel)
    model.use_linear(where.linear)
    return model.to(where.device)


def random_store(documents: int, size: int, vocab: int) -> TokenStore:
    """`documents` documents of `size` random tokens each, in memory; the same at every call."""
    ids = np.random.default_rng(0).integers(0, vocab, documents * size)
    stream = torch.from_numpy(
        ids.astype(np.uint16).view(np.int16) if vocab <= 2**16 else ids.astype(np.int32)
    )
    return TokenStore(
        stream=stream, offsets=np.arange(documents + 1, dtype=np.int64) * size, names=[f"document{i}" for i in range(documents)],
        vocab_size=vocab, token_bytes=np.ones(vocab, np.int64), fingerprint="random",
    )  # fmt: skip


def batch(store: TokenStore, shape: Shape, step: int, where: Place) -> tuple[Tensor, Tensor]:
    """Inputs and targets (B, T) int64 of one training step, drawn as a run draws them."""
    inputs, targets = batches.crops(
        store, seed=0, step=step, batch_size=shape.batch, length=shape.length, cross_documents=True
    )
    return inputs.to(where.device), targets.to(where.device)
