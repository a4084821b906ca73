"""What is measured: the shape of a model, random tokens in the place of text, device and precision.

Random tokens cost what text costs: the time of a kernel depends on values only where they are
denormal, and only positional biases make those.

Shape letters: B sequences in a batch, T tokens in a window.
"""

import contextlib
from dataclasses import dataclass, fields, replace

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
from lengthgen.runs.prepare import placed

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
            f"--width {self.width}, --heads {self.heads}: "
            "expected width / heads to be an even whole number",
        )

    @property
    def model(self) -> models.ModelConfig:
        return models.ModelConfig(n_layers=self.layers, n_heads=self.heads, width=self.width)

    def longer(self) -> "Shape":
        """Twice the window, half the batch, two thirds of the layers."""
        layers, batch = max(1, 2 * self.layers // 3), max(1, self.batch // 2)
        return replace(self, layers=layers, length=2 * self.length, batch=batch)


SIZES = tuple(field.name for field in fields(Shape))


@dataclass(frozen=True)
class Place:
    """Where and in which precision a benchmark runs."""

    device: torch.device
    precision: str  # "fp32" | "bf16"
    kernel: str = "auto"  # of our models' attention, one of dispatch.KERNELS
    linear: str = "auto"  # of our models' products with weights, one of linear.KERNELS

    def autocast(self) -> contextlib.AbstractContextManager:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.precision == "bf16" else torch.float32


def place(device: str, precision: str, kernel: str = "auto", linear: str = "auto") -> Place:
    """`auto`: as a run chooses. ConfigError if CUDA is asked for and missing."""
    dataclass_from.choice("--kernel", kernel, dispatch.KERNELS)
    dataclass_from.choice("--linear", linear, products.KERNELS)
    return Place(*placed(device, precision, "--device "), kernel, linear)


def build(scheme: str, shape: Shape, where: Place) -> models.Transformer:
    """Our model with one scheme's defaults, as a run builds it."""
    kind = schemes.load(scheme)
    length, vocab = shape.length, shape.vocab
    model = models.build(
        shape.model, kind, kind.Config(), train_length=length, vocab_size=vocab, seed=0
    )
    model.use_kernel(where.kernel)
    model.use_linear(where.linear)
    return model.to(where.device)


def random_store(documents: int, size: int, vocab: int) -> TokenStore:
    """`documents` documents of `size` random tokens each, in memory; the same at every call."""
    ids = np.random.default_rng(0).integers(0, vocab, documents * size)
    # As TokenStore holds it: torch has little arithmetic for uint16, so int16 stands in for it.
    stored = ids.astype(np.uint16).view(np.int16) if vocab <= 2**16 else ids.astype(np.int32)
    return TokenStore(
        stream=torch.from_numpy(stored),
        offsets=np.arange(documents + 1, dtype=np.int64) * size,
        names=[f"document{i}" for i in range(documents)],
        vocab_size=vocab,
        token_bytes=np.ones(vocab, np.int64),
        fingerprint="random",
    )


def batch(store: TokenStore, shape: Shape, step: int, where: Place) -> tuple[Tensor, Tensor]:
    """Inputs and targets (B, T) int64 of one training step, drawn as a run draws them."""
    inputs, targets = batches.crops(
        store, seed=0, step=step, batch_size=shape.batch, length=shape.length, cross_documents=True
    )
    return inputs.to(where.device), targets.to(where.device)
