"""What the gradient of a bias costs on a GPU: ours beside FlexAttention's, one atomic a score.

    python -m lengthgen.bench.bias_gradient --out FOLDER

Forward and backward of one attention call without a bias, with a fixed and with a learned one; then
the bias's gradient alone, for several ways of cutting the work. --device cpu only tries the script:
FlexAttention has no backward there and Triton no compiler.

Shape letters: B batch, H heads, T window, D head size.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
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
    "shape", "candidate", "milliseconds", "milliseconds_low", "milliseconds_high",
    "tflops_per_second", "peak_mib", "reason",
)  # fmt: skip
Calls = dict[str, Callable[[], object]]


def calls(q: Tensor, k: Tensor, v: Tensor, vector: Tensor) -> Calls:
    """Forward and backward, by name."""
    grad, scale, learned = torch.randn_like(q), q.shape[-1] ** -0.5, vector.clone().requires_grad_()
    inputs = [x.requires_grad_() for x in (q, k, v)]

    def both(output: Callable[[], Tensor], *more: Tensor) -> Callable[[], object]:
        return lambda: torch.autograd.grad(output(), (*inputs, *more), grad)

    def ours(bias: Tensor | None, force: str) -> Tensor:
        return dispatch.attend(
            q, k, v, None if bias is None else Toeplitz(bias), scale, force=force
        )

    by_name: Calls = {
        "no bias, sdpa": both(lambda: ours(None, "sdpa")),
        "learned, sdpa dense": both(lambda: ours(learned, "sdpa"), learned),
    }
    if q.is_cuda:
        captured = both(lambda: flex.forward(q, k, v, learned, scale)[0], learned)
        by_name |= {
            "no bias, flex": both(lambda: ours(None, "flex")),
            "fixed, flex": both(lambda: ours(vector, "flex")),
            "learned, flex and tap": both(lambda: ours(learned, "flex"), learned),
            "learned, flex captured": captured,
        }
    return by_name


def gradients(q: Tensor, k: Tensor, v: Tensor, vector: Tensor) -> Calls:
    """The gradient of the vector alone, by name."""
    q, k, v = (x.detach() for x in (q, k, v))
    scale, module = q.shape[-1] ** -0.5, bias_tap.implementation(q)
    out, grad = torch.randn_like(q), torch.randn_like(q)
    lse = torch.full(q.shape[:3], 10.0, device=q.device)
    arguments = (q, k, v, out, lse, grad, vector, scale)
    by_name: Calls = {
        "gradient, plain torch": partial(bias_tap.torch_bias.vector_gradient, *arguments)
    }
    if module is not bias_tap.torch_bias:
        for tile, ordered in itertools.product(TILES, (True, False)):
            for programs in PROGRAMS if tile == (64, 64) else PROGRAMS[1:2]:
                how = "ordered" if ordered else "atomic"
                name = f"gradient, {tile[0]} x {tile[1]}, {programs} programs, {how}"
                by_name[name] = partial(
                    module.vector_gradient,
                    *arguments,
                    tile=tile,
                    ordered=ordered,
                    programs=programs,
                )
    return by_name


def main(argv: Sequence[str]) -> int:
    """Print the table; write it where --out says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--device", choices=("cpu", "cuda"), default="cuda")
    add("--rounds", type=int, default=7)
    add("--scale", type=int, default=1, metavar="N", help="divide batch and length by N; for tries")
    add("--out", type=Path, metavar="FOLDER")
    options = parser.parse_args(argv)
    where, began = workload.place(options.device, "auto"), time.perf_counter()
    facts = environment.before(where, "wall")
    samples = {}
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
            Candidate(label, "part", call, flops=products * work)
            for products, by_name in ((1, gradients), (3, calls))
            for label, call in by_name(q, k, v, vector).items()
        ]
        at_least = 0.05 if where.device.type == "cuda" else 0.0
        samples[name] = measuring.interleave(
            candidates, options.rounds, where.device, "wall", at_least
        )
        backends = (sdpa.backend(q, masked=masked) for masked in (False, True))
        print("{}: torch takes {} without a bias, {} with one".format(name, *backends), flush=True)
    rows = [row for name, measured in samples.items() for row in _rows(name, measured)]
    print(report.on_screen(rows, COLUMNS))
    if options.out is not None:
        facts = environment.after(facts, began)
        written = report.save(options.out, "bias_gradient", rows, COLUMNS, COLUMNS, facts, samples)
        print(*written, sep="\n")
    return 0


def _rows(shape: str, measured: measuring.Measured) -> list[dict]:
    rows = []
    for candidate in measured.candidates:
        seconds = measuring.quartiles(measured.seconds(candidate.name))
        middle, low, high = (1e3 * value for value in seconds)
        peak = max(sample.peak for sample in measured.samples[candidate.name]) / 2**20
        speed = candidate.flops / middle / 1e9
        cells = (shape, candidate.name, middle, low, high, speed, peak, "")
        rows.append(dict(zip(COLUMNS, cells, strict=True)))
    return rows + [
        {"shape": shape, "candidate": name, "reason": reason}
        for name, reason in measured.failed.items()
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
