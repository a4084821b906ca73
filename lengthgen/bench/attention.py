"""The attention call alone beside what torch offers, and the batches beside nanoGPT's.

A group is compared on one set of tensors: forward and backward, or forward alone as in evaluation.
Dense rivals get the same bias: `gather` builds the mask by indexing, as other libraries do;
`strided` by kernels/offsets.dense, the fastest dense build that we know. On CUDA the tensors are
bfloat16 and the vector is float32; what dispatch.py picks there is measured.

Shape letters: B batch, H heads, L window, D head size.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lengthgen.attention import dispatch
from lengthgen.attention.bias_forms import Toeplitz
from lengthgen.attention.kernels import offsets
from lengthgen.bench.measuring import Candidate, Measured, quartiles, table
from lengthgen.bench.workload import Place
from lengthgen.data import batches
from lengthgen.data.tokens import open_store, write_store

TRAINING = ((8, 8, 512, 32), (4, 8, 1024, 32))  # B, H, L, D
EVALUATION = ((1, 8, 2048, 64), (1, 8, 4096, 64))
CROPS = (32, 512)  # B, L
COLUMNS = (
    "bench", "candidate", "milliseconds", "milliseconds_low", "milliseconds_high",
    "gflops_per_second", "peak_mib", "rounds", "clock", "threads", "device", "precision", "scale",
    "status", "reason",
)  # fmt: skip
CROPS_TOKENS = 20_000_000  # of the stream that crops are drawn from


Inputs = tuple[Tensor, Tensor, Tensor]  # q, k, v (B, H, L, D)


@dataclass(frozen=True)
class Group:
    """Candidates that are compared with each other."""

    part: str  # attention_training, attention_evaluation, crops, bias_gradient
    length: int  # the length that the pass marks name, before division by `scale`
    candidates: list[Candidate]

    @property
    def name(self) -> str:
        return f"{self.part} L{self.length}"


def group(part: str, length: int, calls: dict[str, Callable[[], Any]], flops: float = 0) -> Group:
    """A group of calls by name, each of `flops`."""
    return Group(
        part, length, [Candidate(name, "part", call, flops=flops) for name, call in calls.items()]
    )


def training_group(shape: tuple[int, int, int, int], where: Place, scale: int = 1) -> Group:
    """Forward and backward: no bias, fixed, learned, and learned as a dense mask."""
    (B, H, L, D), (qkv, vector) = shape, tensors(shape, where, scale)
    q, learned = qkv[0], vector.clone().requires_grad_()
    inputs = [x.requires_grad_() for x in qkv]
    grad = torch.randn_like(q)

    def both(output: Callable[[], Tensor], *bias: Tensor) -> Callable[[], tuple]:
        return lambda: torch.autograd.grad(output(), (*inputs, *bias), grad)

    calls = {
        "is_causal": both(lambda: torch_sdpa(qkv)),
        "no bias": both(lambda: ours(qkv, None)),
        "fixed bias": both(lambda: ours(qkv, vector)),
        "learned bias": both(lambda: ours(qkv, learned), learned),
        "learned bias, dense strided": both(lambda: torch_sdpa(qkv, strided(learned, q)), learned),
        "learned bias, dense gather": both(lambda: torch_sdpa(qkv, gathered(learned, q)), learned),
    }
    return group("attention_training", L, calls, 3 * 2 * B * H * (L // scale) ** 2 * D)


def evaluation_group(shape: tuple[int, int, int, int], where: Place, scale: int = 1) -> Group:
    """Forward alone: no bias, a fixed one, and the same as a dense mask whose build counts."""
    (B, H, L, D), (qkv, vector) = shape, tensors(shape, where, scale)
    q = qkv[0]
    calls = {
        "is_causal": lambda: torch_sdpa(qkv),
        "fixed bias": lambda: ours(qkv, vector),
        "fixed bias, dense strided": lambda: torch_sdpa(qkv, strided(vector, q)),
        "fixed bias, dense gather": lambda: torch_sdpa(qkv, gathered(vector, q)),
    }
    calls = {name: torch.no_grad()(call) for name, call in calls.items()}
    return group("attention_evaluation", L, calls, 2 * B * H * (L // scale) ** 2 * D)


def tensors(shape: tuple[int, int, int, int], where: Place, scale: int) -> tuple[Inputs, Tensor]:
    """q, k, v (B, H, L, D), laid out as (B, L, H, D) like a projection, and ALiBi's bias (H, L)."""
    B, H, L, D = shape
    length = max(2, L // scale)
    generator = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.randn(B, length, H, D, generator=generator)
        .to(where.device, where.dtype)
        .transpose(1, 2)
        for _ in range(3)
    )
    # ALiBi's slopes: for 8 heads 2^-1 .. 2^-8.
    slopes = torch.exp2(-8 * torch.arange(1, H + 1) / H)
    return (q, k, v), (-slopes[:, None] * torch.arange(length)).to(where.device)


def ours(qkv: Inputs, vector: Tensor | None, force: str = "auto") -> Tensor:
    """lengthgen's attention with a bias (H, L) by offset. force: a kernel's name."""
    bias = None if vector is None else Toeplitz(vector)
    return dispatch.attend(*qkv, bias, qkv[0].shape[-1] ** -0.5, force=force)


def torch_sdpa(qkv: Inputs, mask: Tensor | None = None) -> Tensor:
    """torch's attention, with a mask or causal."""
    return functional.scaled_dot_product_attention(*qkv, attn_mask=mask, is_causal=mask is None)


def gathered(vector: Tensor, q: Tensor) -> Tensor:
    """The mask (1, H, L, L) in q's dtype, by indexing the vector with a matrix of offsets."""
    place = torch.arange(vector.shape[1], device=vector.device)
    distance = place[:, None] - place
    mask = vector[:, distance.clamp(min=0)].masked_fill(distance < 0, float("-inf"))
    return mask[None].to(q.dtype)


def strided(vector: Tensor, q: Tensor) -> Tensor:
    """The same mask as one copy through strides."""
    return offsets.dense(vector)[None].to(q.dtype)


@contextmanager
def crops_group(scale: int = 1) -> Iterator[Group]:
    """Our batches, and nanoGPT's: map the file anew, draw starts, stack one slice a sequence."""
    B, L = CROPS
    with tempfile.TemporaryDirectory() as folder:
        size = max(2 * L, CROPS_TOKENS // scale)
        ids = np.random.default_rng(0).integers(0, 257, size, dtype=np.uint16)
        token_bytes = np.ones(257, np.int64)
        write_store(
            Path(folder) / "store", [("document", ids)], vocab_size=257, token_bytes=token_bytes
        )
        store = open_store(Path(folder) / "store")
        steps = iter(range(10**9))

        def ours() -> tuple[Tensor, Tensor]:
            return batches.crops(
                store, seed=0, step=next(steps), batch_size=B, length=L, cross_documents=True
            )

        def others() -> tuple[Tensor, Tensor]:
            data = np.memmap(Path(folder) / "store" / "tokens.bin", dtype=np.uint16, mode="r")
            starts = torch.randint(len(data) - L, (B,)).tolist()

            def stacked(shift: int) -> Tensor:
                slices = (data[start + shift : start + shift + L] for start in starts)
                return torch.stack([torch.from_numpy(x.astype(np.int64)) for x in slices])

            return stacked(0), stacked(1)

        calls = {"crops": ours, "nanogpt_style get_batch": others}
        yield group("crops", L, calls)


def groups(where: Place, scale: int) -> Iterator[Group]:
    """All groups that have pass marks, one at a time: together their tensors would fill a GPU."""
    for shape in TRAINING:
        yield training_group(shape, where, scale)
    for shape in EVALUATION:
        yield evaluation_group(shape, where, scale)
    with crops_group(scale) as crops:
        yield crops


def rows(group: Group, measured: Measured, where: Place, scale: int) -> list[dict[str, Any]]:
    """One row a candidate, with COLUMNS. FLOPs count the unmasked half of causal attention."""

    def cells(candidate: Candidate, seconds: np.ndarray) -> dict[str, Any]:
        middle, low, high = (1e3 * value for value in quartiles(seconds))
        return {
            "milliseconds": middle,
            "milliseconds_low": low,
            "milliseconds_high": high,
            "gflops_per_second": candidate.flops / middle / 1e6 if candidate.flops else None,
        }

    return table(measured, where, COLUMNS, cells, bench=group.name, scale=scale)
