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
from lengthgen.bench.measuring import Candidate, Measured, quartiles
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


@dataclass(frozen=True)
class Group:
    """Candidates that are compared with each other."""

    part: str  # attention_training, attention_evaluation, crops, bias_gradient
    length: int  # the length that the pass marks name, before division by `scale`
    candidates: list[Candidate]

    @property
    def name(self) -> str:
        return f"{self.part} L{self.length}"


def training_group(shape: tuple[int, int, int, int], where: Place, scale: int = 1) -> Group:
    """Forward and backward: no bias, fixed, learned, and learned as a dense mask."""
    (B, H, L, D), (q, k, v, vector) = shape, _tensors(shape, where, scale)
    learned = vector.clone().requires_grad_()
    inputs = [x.requires_grad_() for x in (q, k, v)]
    upstream = torch.randn_like(q)

    def both(output: Callable[[], Tensor], *wanted: Tensor) -> Callable[[], tuple]:
        return lambda: torch.autograd.grad(output(), wanted, upstream)

    def ours(bias: Tensor | None) -> Tensor:
        return dispatch.attend(q, k, v, None if bias is None else Toeplitz(bias), D**-0.5)

    def masked(mask: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)

    calls = {
        "is_causal": both(
            lambda: functional.scaled_dot_product_attention(q, k, v, is_causal=True), *inputs
        ),
        "no bias": both(lambda: ours(None), *inputs),
        "fixed bias": both(lambda: ours(vector), *inputs),
        "learned bias": both(lambda: ours(learned), *inputs, learned),
        "learned bias, dense strided": both(lambda: masked(strided(learned, q)), *inputs, learned),
        "learned bias, dense gather": both(lambda: masked(gathered(learned, q)), *inputs, learned),
    }
    work = 3 * 2 * B * H * (L // scale) ** 2 * D
    candidates = [Candidate(name, "part", call, flops=work) for name, call in calls.items()]
    return Group("attention_training", L, candidates)


def evaluation_group(shape: tuple[int, int, int, int], where: Place, scale: int = 1) -> Group:
    """Forward alone: no bias, a fixed one, and the same as a dense mask whose build counts."""
    (B, H, L, D), (q, k, v, vector) = shape, _tensors(shape, where, scale)

    def masked(mask: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)

    def without_grad(output: Callable[[], Tensor]) -> Callable[[], Tensor]:
        return torch.no_grad()(output)

    calls = {
        "is_causal": without_grad(
            lambda: functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        ),
        "fixed bias": without_grad(lambda: dispatch.attend(q, k, v, Toeplitz(vector), D**-0.5)),
        "fixed bias, dense strided": without_grad(lambda: masked(strided(vector, q))),
        "fixed bias, dense gather": without_grad(lambda: masked(gathered(vector, q))),
    }
    work = 2 * B * H * (L // scale) ** 2 * D
    candidates = [Candidate(name, "part", call, flops=work) for name, call in calls.items()]
    return Group("attention_evaluation", L, candidates)


def _tensors(
    shape: tuple[int, int, int, int], where: Place, scale: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
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
    return q, k, v, (-slopes[:, None] * torch.arange(length)).to(where.device)


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
        yield Group("crops", L, [Candidate(name, "part", call) for name, call in calls.items()])


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
    constant = dict.fromkeys(COLUMNS) | {
        "bench": group.name,
        "clock": measured.clock,
        "threads": torch.get_num_threads(),
        "device": where.device.type,
        "precision": where.precision,
        "scale": scale,
    }
    table = []
    for candidate in measured.candidates:
        middle, low, high = (1e3 * value for value in quartiles(measured.seconds(candidate.name)))
        peak = max(sample.peak for sample in measured.samples[candidate.name])
        row = {
            "candidate": candidate.name,
            "milliseconds": middle,
            "milliseconds_low": low,
            "milliseconds_high": high,
            "gflops_per_second": candidate.flops / middle / 1e6 if candidate.flops else None,
            "peak_mib": peak / 2**20 if peak else None,
            "rounds": len(measured.samples[candidate.name]),
            "status": "ok",
            "reason": "",
        }
        table.append(constant | row)
    return table + [
        constant | {"candidate": name, "status": "failed", "reason": reason}
        for name, reason in measured.failed.items()
    ]
