"""One attention call, softmax(scale * q k^T + bias) v, causal, over one window: picks the fastest exact kernel for the bias's structure.

| kernel | when it is chosen | memory beside q, k, v and the output |
|---|---|---|
| cpu | float32 on CPU without dropout; past 1024 tokens with a bias or span, or if tiles serve | O(T) (`Rows` that learn: T^2 / 2 a head) |
| sdpa | everything else | of torch's kernels without a bias, else O(H T^2), O(B H T^2) if it learns; O(T) past 4096 in evaluation |
| flex | only on demand, on CUDA without dropout; "auto" stays sdpa until flex is measured | O(T) (in training H T^2: `Rows`, sinks) |
| reference | only on demand | O(B H T^2) |

Scores that are a scheme's own function of the text go through `attend_general` (kernels/general.py): O(B H T^2) in training.

A window of w tokens (structures.Span) makes cpu and flex do O(T w) work, and sdpa where it goes by chunks of rows; elsewhere it is a mask.

Shape letters: B batch, H heads, T queries = keys, D head size.
"""

import weakref

import torch
from torch import Tensor
from torch.nn import functional

from lengthgen.attention.bias_forms import Bias, Gates, Rows, Span, Toeplitz
from lengthgen.attention.kernels import (
    cpu,
    gates,
    masks,
    offsets,
    reference,
    rows,
    sdpa,
    tiles,
    windows_and_sinks,
)
from lengthgen.attention.kernels.general import attend as attend_general
from lengthgen.errors import ConfigError

__all__ = ["KERNELS", "attend", "attend_general", "chosen"]

KERNELS = ("auto", "cpu", "sdpa", "flex", "reference")
LONGEST_UNBIASED = 1024  # past it, the key blocks that is_causal skips outweigh the finer chunks (measured equal at 2048, one thread)
LONGEST_DENSE = (
    4096  # past it, evaluation makes the mask of a chunk of rows at a time, not of the whole window
)


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Bias | None,
    scale: float,
    dropout: float = 0.0,
    force: str = "auto",
    span: Span | None = None,
) -> Tensor:
    """Causal self-attention over one window.

    q, k, v: (B, H, T, D), any floating dtype, any device (v may be narrower). scale: on q k^T, not on the bias. dropout: on the weights.
    bias: None, Toeplitz (vector (H, at least T)), Rows or Gates (sums (B, H, T)), ValueError where shapes are wrong; gradients reach
    q, k, v and whatever the bias was made of.
    The blocks of Rows that learn are evaluated once and kept on the object until their gradient has arrived, so that layers can share them:
    one object should serve one forward pass.
    force: one of KERNELS; ConfigError if that kernel cannot do this. span: which keys a query sees; None: every one up to its own.
    Returns (B, H, T, D) in q's dtype.
    """
    if (
        v.shape[-1] < q.shape[-1]
    ):  # flash kernels want one head size; zeros cost less than the kernels that do not (6 times at 4096)
        wide = functional.pad(v, (0, q.shape[-1] - v.shape[-1]))
        return attend(q, k, wide, bias, scale, dropout, force, span)[..., : v.shape[-1]]
    kernel, span = (
        chosen(q, bias, dropout, force, span),
        windows_and_sinks.narrowed(span, q.shape[-2]),
    )
    if kernel == "cpu":
        return cpu.attend(q, k, v, _chunked(bias, q, span), scale)
    if kernel == "reference":
        return reference.attend(q, k, v, _dense(bias, q), scale, dropout, span)
    q, k, v = _as_autocast(q, k, v)
    if _by_rows(q, bias, dropout, kernel, span):
        chunk = sdpa.chunk_of(
            (q.shape[0] if isinstance(bias, Gates) else 1) * q.shape[1], q.shape[2]
        )
        return sdpa.attend_by_rows(q, k, v, _mask_rows(bias, q, chunk), scale, chunk, span)
    if kernel == "flex":
        from lengthgen.attention.kernels import flex

        return flex.attend(q, k, v, _as_it_is(bias, q), scale, span)
    return sdpa.attend(q, k, v, _dense(bias, q), scale, dropout, span)


def chosen(
    q: Tensor,
    bias: Bias | None,
    dropout: float = 0.0,
    force: str = "auto",
    span: Span | None = None,
) -> str:
    """The name of the kernel that `attend` uses for these arguments, in training if gradients are enabled: one of KERNELS but "auto"."""
    if force not in KERNELS:
        raise ConfigError(
            f"attention kernel {force!r} is unknown: expected one of {', '.join(KERNELS)}"
        )
    obstacle = _flex_obstacle(q, bias, dropout) if force == "flex" else _cpu_obstacle(q, dropout)
    if force in ("cpu", "flex") and obstacle:
        raise ConfigError(
            f"attention kernel {force!r} cannot be used here ({obstacle}): use 'auto'"
        )
    if force != "auto":
        return force
    length = q.shape[-2]
    causal_only = (
        bias is None
        and windows_and_sinks.narrowed(span, length) is None
        and not tiles.serve(length, span)
    )
    return "sdpa" if obstacle or (causal_only and length > LONGEST_UNBIASED) else "cpu"


def _cpu_obstacle(q: Tensor, dropout: float) -> str | None:
    if q.device.type != "cpu":
        return f"device {q.device.type}"
    if q.dtype != torch.float32:
        return f"dtype {q.dtype}, it needs float32"
    if dropout > 0:
        return f"dropout {dropout}, it needs 0"
    if torch.is_autocast_enabled("cpu"):
        return "autocast is on"
    if torch.compiler.is_compiling():
        return "torch.compile is tracing"
    return None if cpu.available() else "this torch lacks its CPU flash kernels"


def _flex_obstacle(q: Tensor, bias: Bias | None, dropout: float) -> str | None:
    if isinstance(bias, Gates):
        return "it has no form for gates"
    if q.device.type != "cuda":
        return f"device {q.device.type}, it needs cuda"
    if q.dtype == torch.float64:
        return "dtype torch.float64, it needs 32 bits or fewer"
    return f"dropout {dropout}, it needs 0" if dropout > 0 else None


def _as_autocast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """What autocast would make of them, now: kernels, masks and saved tensors must agree on one dtype."""
    device = tensors[0].device.type
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return tensors
    return tuple(x.to(torch.get_autocast_dtype(device)) for x in tensors)


def _by_rows(q: Tensor, bias: Bias | None, dropout: float, kernel: str, span: Span | None) -> bool:
    """Whether to evaluate a chunk of rows at a time: too long for a matrix, and the kernel would need one."""
    if (
        torch.is_grad_enabled()
        or (bias is None and span is None)
        or dropout > 0
        or q.shape[-2] <= LONGEST_DENSE
    ):
        return False
    return kernel == "sdpa" or isinstance(bias, Rows)


def _mask_rows(bias: Bias | None, q: Tensor, chunk: int) -> masks.VectorRows | masks.MatrixRows:
    if bias is None:
        return masks.VectorRows(q.new_zeros(1, q.shape[-2]), chunk)
    if isinstance(bias, Toeplitz):
        return masks.VectorRows(_vector(bias, q).to(q.dtype), chunk)
    if isinstance(bias, Gates):
        return masks.MatrixRows(lambda first, last: _checked(bias, q).block(first, last), q.dtype)
    return masks.MatrixRows(bias.block, q.dtype)


def _as_it_is(bias: Bias | None, q: Tensor) -> Tensor | None:
    """None, a vector (H, T), or, for Rows, one block with all the rows, made once for the layers that share a bias that learns."""
    if bias is None or isinstance(bias, Toeplitz):
        return None if bias is None else _vector(bias, q)
    length = q.shape[-2]
    if (
        torch.compiler.is_compiling() or not torch.is_grad_enabled()
    ):  # a compiler finds by itself what layers share
        return rows.masked(bias.block(0, length), 0, length)
    blocks = _blocks(bias, length, length)
    return rows.masked(bias.block(0, length), 0, length) if blocks is None else blocks[0]


def _chunked(bias: Bias | None, q: Tensor, span: Span | None) -> cpu.ChunkedBias:
    length = q.shape[-2]
    if bias is None or isinstance(bias, Toeplitz):
        vector = q.new_zeros(1, length) if bias is None else _vector(bias, q)
        chunk = (
            tiles.QUERIES
            if tiles.serve(length, span)
            else cpu.chunk_of(windows_and_sinks.most(span, 1, length))
        )
        return offsets.Offsets(vector, chunk, span)
    chunk = cpu.chunk_of(length)
    if isinstance(bias, Gates):
        return gates.GateRows(_checked(bias, q), gates.chunk_of(q.shape[0], length, chunk), span)
    blocks = _blocks(bias, length, chunk) if torch.is_grad_enabled() else None
    if blocks is None:
        return rows.LazyBlocks(bias.block, rows.chunk_of(q.shape[1], length, chunk), span)
    return rows.Blocks(blocks, chunk, span)


def _blocks(bias: Rows, length: int, chunk: int) -> list[Tensor] | None:
    """The blocks of a bias that learns, evaluated once for all the layers that share the object; None if it does not learn."""
    kept = vars(bias).get("_blocks")
    if kept is not None and kept[0] == length:
        return kept[1]
    blocks = rows.evaluated(bias.block, length, chunk)
    if blocks is not None:
        vars(bias)["_blocks"] = (length, blocks)
        owner = weakref.ref(
            bias
        )  # a strong one would be a cycle, and the blocks would outlive the step

        def forget(_: Tensor) -> None:
            if owner() is not None:
                vars(owner()).pop("_blocks", None)

        blocks[0].register_hook(forget)
    return blocks


def _dense(bias: Bias | None, q: Tensor) -> Tensor | None:
    if bias is None:
        return None
    if isinstance(bias, Gates):
        return _checked(bias, q).block(0, q.shape[-2])
    return (
        offsets.dense(_vector(bias, q))
        if isinstance(bias, Toeplitz)
        else bias.block(0, q.shape[-2])
    )


def _vector(bias: Toeplitz, q: Tensor) -> Tensor:
    _, n_heads, length, _ = q.shape
    if bias.vector.ndim != 2 or bias.vector.shape[0] != n_heads or bias.vector.shape[1] < length:
        raise ValueError(
            f"Toeplitz vector of shape {tuple(bias.vector.shape)}: expected ({n_heads}, at least {length}), heads by offsets"
        )
    return bias.vector[:, :length]


def _checked(bias: Gates, q: Tensor) -> Gates:
    for name, x in vars(bias).items():
        if x is not None and x.shape != q.shape[:3]:
            raise ValueError(
                f"Gates.{name} of shape {tuple(x.shape)}: expected {tuple(q.shape[:3])}, one number a query"
            )
    return bias
