"""What the gradient of a bias costs on a GPU: ours beside FlexAttention's, one atomic a score.

Forward and backward of one attention call without a bias, with a fixed and with a learned one; then
the bias's gradient alone, for several ways of cutting the work. On CPU this only tries the code:
FlexAttention has no backward there and Triton no compiler.

Shape letters: B batch, H heads, T window, D head size.
"""

import itertools
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from lengthgen.attention.kernels import bias_tap, flex, sdpa
from lengthgen.bench.attention import Group, Inputs, ours, tensors
from lengthgen.bench.measuring import Candidate
from lengthgen.bench.workload import Place

SHAPES = ((32, 12, 1024, 64), (64, 8, 512, 64), (64, 8, 512, 32))  # B, H, T, D
Tiles = tuple[tuple[int, int], ...]
TILES: Tiles = ((32, 32), (64, 64), (128, 64), (128, 128))
PROGRAMS = (1024, 2048, 4096)
Calls = dict[str, Callable[[], object]]


def calls(qkv: Inputs, vector: Tensor) -> Calls:
    """Forward and backward, by name."""
    grad, learned = torch.randn_like(qkv[0]), vector.clone().requires_grad_()
    inputs = [x.requires_grad_() for x in qkv]

    def both(output: Callable[[], Tensor], *bias: Tensor) -> Callable[[], object]:
        return lambda: torch.autograd.grad(output(), (*inputs, *bias), grad)

    by_name: Calls = {
        "no bias, sdpa": both(lambda: ours(qkv, None, "sdpa")),
        "learned, sdpa dense": both(lambda: ours(qkv, learned, "sdpa"), learned),
    }
    if grad.is_cuda:
        scale = grad.shape[-1] ** -0.5
        by_name |= {
            "no bias, flex": both(lambda: ours(qkv, None, "flex")),
            "fixed, flex": both(lambda: ours(qkv, vector, "flex")),
            "learned, flex and tap": both(lambda: ours(qkv, learned, "flex"), learned),
            "learned, flex captured": both(lambda: flex.forward(*qkv, learned, scale)[0], learned),
        }
    return by_name


def gradients(qkv: Inputs, vector: Tensor, tiles: Tiles = TILES) -> Calls:
    """The gradient of the vector alone, by name."""
    q, k, v = (x.detach() for x in qkv)
    scale, module = q.shape[-1] ** -0.5, bias_tap.implementation(q)
    out, grad = torch.randn_like(q), torch.randn_like(q)
    lse = torch.full(q.shape[:3], 10.0, device=q.device)
    arguments = (q, k, v, out, lse, grad, vector, scale)
    by_name: Calls = {
        "gradient, plain torch": partial(bias_tap.torch_bias.vector_gradient, *arguments)
    }
    if module is not bias_tap.torch_bias:
        for tile, ordered in itertools.product(tiles, (True, False)):
            for programs in PROGRAMS if tile == (64, 64) else PROGRAMS[1:2]:
                how = "ordered" if ordered else "atomic"
                name = f"gradient, {tile[0]} x {tile[1]}, {programs} programs, {how}"
                how_cut = {"tile": tile, "ordered": ordered, "programs": programs}
                by_name[name] = partial(module.vector_gradient, *arguments, **how_cut)
    return by_name


def group(
    shape: tuple[int, int, int, int], where: Place, scale: int = 1, tiles: Tiles = TILES
) -> Group:
    """All candidates at one shape, its batch and length divided by `scale`."""
    B, H, T, D = shape
    batch, length = max(1, B // scale), max(16, T // scale)
    qkv, _ = tensors((batch, H, length, D), where, 1)
    vector = torch.randn(H, length, device=where.device)
    work = 2 * batch * H * length**2 * D  # of two matrix products, causal
    backends = (sdpa.backend(qkv[0], masked=masked) for masked in (False, True))
    print("T{} D{}: torch takes {} without a bias, {} with one".format(T, D, *backends))
    candidates = [
        Candidate(name, "part", call, flops=products * work)
        for products, by_name in ((1, gradients(qkv, vector, tiles)), (3, calls(qkv, vector)))
        for name, call in by_name.items()
    ]
    return Group(f"bias_gradient D{D}", T, candidates)
