"""What the gradient of a bias costs on a GPU: ours beside FlexAttention's own, which adds every score by an atomic (G3).

    python -m lengthgen.bench.bias_gradient --out FOLDER

Forward and backward of one attention call without a bias, with a fixed and with a learned one; then the bias's gradient alone, for ways of
cutting the work. With --device cpu it is a try of the script: FlexAttention has no backward there and Triton no compiler.

Shape letters: B batch, H heads, T window, D head size.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from lengthgen.attention import dispatch
from lengthgen.attention.bias_forms import Toeplitz
from lengthgen.attention.kernels import bias_tap, flex, sdpa
from lengthgen.bench import environment, measuring, report, workload
from lengthgen.bench.measuring import Candidate

SHAPES = ((32, 12, 1024, 64), (64, 8, 512, 64), (64, 8, 512, 32))  # B, H, T, D
TILES = ((32, 32), (64, 64), (128, 64), (128, 128))
PROGRAMS = (1024, 2048, 4096)
COLUMNS = (
    "shape",
    "candidate",
    "milliseconds",
    "milliseconds_low",
    "milliseconds_high",
    "tflops_per_second",
    "peak_mib",
    "reason",
)


def calls(q: Tensor, k: Tensor, v: Tensor, vector: Tensor) -> dict[str, Callable[[], object]]:
    """Forward and backward, by name."""
    grad, scale, learned = torch.randn_like(q), q.shape[-1] ** -0.5, vector.clone().requires_grad_()
    inputs = [x.requires_grad_() for x in (q, k, v)]

    def both(output: Callable[[], Tensor], *more: Tensor) -> Callable[[], object]:
        return lambda: torch.autograd.grad(output(), (*inputs, *more), grad)

    def ours(bias: Tensor | None, force: str) -> Tensor:
        return dispatch.attend(
            q, k, v, None if bias is None else Toeplitz(bias), scale, force=force
        )

    found = {
        "no bias, sdpa": both(lambda: ours(None, "sdpa")),
        "learned, sdpa dense": both(lambda: ours(learned, "sdpa"), learned),
    }
    if q.is_cuda:
        found |= {
            "no bias, flex": both(lambda: ours(None, "flex")),
            "fixed, flex": both(lambda: ours(vector, "flex")),
            "learned, flex and tap": both(lambda: ours(learned, "flex"), learned),
            "learned, flex captured": both(
                lambda: flex.forward(q, k, v, learned, scale)[0], learned
            ),
        }
    return found


def gradients(q: Tensor, k: Tensor, v: Tensor, vector: Tensor) -> dict[str, Callable[[], object]]:
    """The gradient of the vector alone, by name."""
    q, k, v = (x.detach() for x in (q, k, v))
    scale, (out, grad), module = (
        q.shape[-1] ** -0.5,
        (torch.randn_like(q) for _ in range(2)),
        bias_tap.implementation(q),
    )
    lse = torch.full(q.shape[:3], 10.0, device=q.device)
    arguments = (q, k, v, out, lse, grad, vector, scale)
    found = {"gradient, plain torch": lambda: bias_tap.torch_bias.vector_gradient(*arguments)}
    if module is not bias_tap.torch_bias:
        for tile, ordered in itertools.product(TILES, (True, False)):
            for programs in PROGRAMS if tile == (64, 64) else PROGRAMS[1:2]:
                name = f"gradient, {tile[0]} x {tile[1]}, {programs} programs, {'ordered' if ordered else 'atomic'}"
                options = {"tile": tile, "ordered": ordered, "programs": programs}
                found[name] = lambda options=options: module.vector_gradient(*arguments, **options)
    return found


def main(argv: Sequence[str]) -> int:
    """Print the table; write it where --out says."""
    found = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    found.add_argument("--rounds", type=int, default=7)
    found.add_argument(
        "--scale", type=int, default=1, metavar="N", help="divide batch and length by N; for tries"
    )
    found.add_argument("--out", type=Path, metavar="FOLDER")
    options = found.parse_args(argv)
    where, began, rows, samples = (
        workload.place(options.device, "auto"),
        time.perf_counter(),
        [],
        {},
    )
    facts = environment.before(where, "wall")
    for B, H, T, D in SHAPES:
        batch, length = max(1, B // options.scale), max(16, T // options.scale)
        name = f"B{batch} H{H} T{length} D{D}"
        q, k, v = (
            torch.randn(batch, length, H, D, device=where.device).to(where.dtype).transpose(1, 2)
            for _ in range(3)
        )
        vector = torch.randn(H, length, device=where.device)
        work = 2 * batch * H * length**2 * D  # of two matrix products, causal
        candidates = [
            Candidate(label, "part", call, flops=work)
            for label, call in gradients(q, k, v, vector).items()
        ]
        candidates += [
            Candidate(label, "part", call, flops=3 * work)
            for label, call in calls(q, k, v, vector).items()
        ]
        samples[name] = measuring.interleave(
            candidates,
            options.rounds,
            where.device,
            "wall",
            0.05 if where.device.type == "cuda" else 0.0,
        )
        rows += _rows(name, samples[name])
        print(
            f"{name}: without a bias torch takes {sdpa.backend(q, masked=False)}, with one {sdpa.backend(q, masked=True)}",
            flush=True,
        )
    print(report.markdown(rows, COLUMNS))
    if options.out is not None:
        facts = environment.after(facts, began)
        print(
            *report.save(options.out, "bias_gradient", rows, COLUMNS, COLUMNS, facts, samples),
            sep="\n",
        )
    return 0


def _rows(shape: str, measured: measuring.Measured) -> list[dict]:
    rows = []
    for candidate in measured.candidates:
        middle, low, high = (
            1e3 * value for value in measuring.quartiles(measured.seconds(candidate.name))
        )
        peak = max(sample.peak for sample in measured.samples[candidate.name]) / 2**20
        values = (
            shape,
            candidate.name,
            middle,
            low,
            high,
            candidate.flops / middle / 1e9,
            peak,
            "",
        )
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows + [
        {"shape": shape, "candidate": name, "reason": reason}
        for name, reason in measured.failed.items()
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
