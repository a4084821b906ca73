"""One call of attention, softmax(scale * q k^T + bias) v, causal, over one window, by the fastest
exact kernel for the structure of its bias.

| kernel | chosen for | memory beside q, k, v and the output |
|---|---|---|
| cpu | float32 on CPU, no dropout | O(T), learned `Rows` O(H T^2) |
| flex | a bias or a window on CUDA, no dropout | O(T), in training O(H T^2) for `Rows` and sinks |
| sdpa | everything else | torch's own without a bias, else O(H T^2), learned O(B H T^2) |
| reference | only if forced | O(B H T^2) |

Past LONGEST_UNBIASED tokens sdpa serves causal attention without a bias on CPU too. Evaluating
more than LONGEST_DENSE tokens, sdpa, and flex with `Rows`, go by chunks of rows: O(T). A window of
w tokens (bias_forms.Span) takes O(T w) work in cpu, flex and chunks of rows; elsewhere it is a
mask. The gradient of `Gates` in flex takes O(B H T^2 / 128), a hundredth of the scores.
A scheme's own function of the text goes through `attend_general` (kernels/general.py): O(T) by
blocks of rows, in training too, if its rows are independent.

Shape letters: B batch, H heads, T queries = keys, D head size, Dv size of a value.
"""

import weakref

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lengthgen.attention.bias_forms import Bias, Gates, Rows, Span, Toeplitz
from lengthgen.attention.kernel_names import ATTENTION as KERNELS
from lengthgen.attention.kernels import (
    cpu,
    flex_needs,
    gates,
    masks,
    offsets,
    reference,
    rows,
    sdpa,
    tiles,
)
from lengthgen.attention.kernels.general import attend as attend_general
from lengthgen.attention.kernels.windows_and_sinks import most_keys, narrowed
from lengthgen.errors import ConfigError

__all__ = ["KERNELS", "as_autocast", "attend", "attend_general", "chosen", "why_not_flex"]

# Past this, the key blocks that is_causal skips outweigh the finer chunks of cpu (equal at 2048).
LONGEST_UNBIASED = 1024
# Past this, evaluation makes the mask of a chunk of rows at a time, not of the whole window.
LONGEST_DENSE = 4096
AUTOCAST = ("cpu", "cuda")  # devices with autocast


def attend(
    q: Float[Tensor, "B H T D"],
    k: Float[Tensor, "B H T D"],
    v: Float[Tensor, "B H T Dv"],
    bias: Bias | None,
    scale: float,
    dropout: float = 0.0,
    force: str = "auto",
    span: Span | None = None,
) -> Float[Tensor, "B H T Dv"]:
    """Causal self-attention over one window, on any device; v may be narrower than q and k.

    scale: on q k^T, not on the bias. dropout: on the weights. force: one of KERNELS. span: which
    keys a query sees, by default all up to its own.
    Gradients reach q, k, v and whatever the bias was made of. Blocks of `Rows` that learn are kept
    on the object until their gradient arrives, so that layers share them: use one object per pass.
    Raises ValueError for a bias of a wrong shape, ConfigError if the forced kernel cannot do this.
    """
    if v.shape[-1] < q.shape[-1]:
        # Flash kernels want one head size; the others take 6 times as long at 4096 tokens.
        wide = functional.pad(v, (0, q.shape[-1] - v.shape[-1]))
        return attend(q, k, wide, bias, scale, dropout, force, span)[..., : v.shape[-1]]
    kernel = chosen(q, bias, dropout, force, span)
    span = narrowed(span, q.shape[-2])
    if kernel == "cpu":
        return cpu.attend(q, k, v, _chunked(bias, q, span), scale)
    if kernel == "reference":
        return reference.attend(q, k, v, _dense(bias, q), scale, dropout, span)
    q, k, v = as_autocast(q, k, v)
    if _by_rows(q, bias, dropout, kernel, span):
        n_matrices = q.shape[1] * (q.shape[0] if isinstance(bias, Gates) else 1)
        chunk = sdpa.chunk_of(n_matrices, q.shape[2])
        return sdpa.attend_by_rows(q, k, v, _mask_rows(bias, q, chunk), scale, chunk, span)
    if kernel == "flex":
        # Importing it loads torch's compiler, which takes seconds.
        from lengthgen.attention.kernels import flex

        return flex.attend(q, k, v, _for_flex(bias, q), scale, span)
    return sdpa.attend(q, k, v, _dense(bias, q), scale, dropout, span)


def chosen(
    q: Float[Tensor, "B H T D"],
    bias: Bias | None,
    dropout: float = 0.0,
    force: str = "auto",
    span: Span | None = None,
) -> str:
    """The kernel that `attend` uses for these arguments: one of KERNELS, never "auto"."""
    if force not in KERNELS:
        raise ConfigError(
            f"attention kernel {force!r} is unknown: expected one of {', '.join(KERNELS)}"
        )
    if force in ("cpu", "flex"):
        obstacle = (_flex_obstacle if force == "flex" else _cpu_obstacle)(q, dropout)
        if obstacle:
            raise ConfigError(
                f"attention kernel {force!r} cannot be used here ({obstacle}): use 'auto'"
            )
    if force != "auto":
        return force
    length, structured = q.shape[-2], _structured(q, bias, span)
    if _cpu_obstacle(q, dropout) is None:
        tiled = tiles.serve(length, span)
        return "sdpa" if not structured and not tiled and length > LONGEST_UNBIASED else "cpu"
    return "flex" if structured and _flex_obstacle(q, dropout) is None else "sdpa"


def why_not_flex(
    q: Float[Tensor, "B H T D"], bias: Bias | None, dropout: float = 0.0, span: Span | None = None
) -> str | None:
    """Why attention with a bias or a window on a GPU must make masks; None if it need not."""
    if q.device.type != "cuda" or not _structured(q, bias, span):
        return None
    return _flex_obstacle(q, dropout)


def _structured(q: Tensor, bias: Bias | None, span: Span | None) -> bool:
    """Whether it takes more than causal attention, for which torch has faster kernels than flex."""
    return bias is not None or narrowed(span, q.shape[-2]) is not None


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


def _flex_obstacle(q: Tensor, dropout: float) -> str | None:
    if q.device.type != "cuda":
        return f"device {q.device.type}, it needs cuda"
    if q.dtype == torch.float64:
        return "dtype torch.float64, it needs 32 bits or fewer"
    smallest, largest = flex_needs.SIZES
    if not smallest <= q.shape[-1] <= largest:
        return f"heads of size {q.shape[-1]}, it needs {smallest} to {largest}"
    if dropout > 0:
        return f"dropout {dropout}, it needs 0"
    # What traces for a GPU has a compiler; and looking for one cannot be traced.
    return None if torch.compiler.is_compiling() else flex_needs.missing(q.device)


def as_autocast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Cast as autocast would, but now: kernels, masks and saved tensors must agree on one dtype."""
    device = tensors[0].device.type
    # Named, because torch 2.11 cannot trace torch.amp.is_autocast_available.
    if device not in AUTOCAST or not torch.is_autocast_enabled(device):
        return tensors
    return tuple(x.to(torch.get_autocast_dtype(device)) for x in tensors)


def _by_rows(q: Tensor, bias: Bias | None, dropout: float, kernel: str, span: Span | None) -> bool:
    """Whether to go by chunks of rows: the window is long, and the kernel would need a matrix."""
    if torch.is_grad_enabled() or dropout > 0 or q.shape[-2] <= LONGEST_DENSE:
        return False
    if bias is None and span is None:
        return False
    return kernel == "sdpa" or isinstance(bias, Rows)


def _mask_rows(bias: Bias | None, q: Tensor, chunk: int) -> masks.VectorRows | masks.MatrixRows:
    if bias is None:
        return masks.VectorRows(q.new_zeros(1, q.shape[-2]), chunk)
    if isinstance(bias, Toeplitz):
        return masks.VectorRows(_vector(bias, q).to(q.dtype), chunk)
    if isinstance(bias, Gates):
        _check_gates(bias, q)
    return masks.MatrixRows(bias.block, q.dtype)


def _for_flex(bias: Bias | None, q: Tensor) -> Tensor | Gates | None:
    """None, gates, a vector (H, T) or, for Rows, one block (H, T, T)."""
    if isinstance(bias, Toeplitz):
        return _vector(bias, q)
    if isinstance(bias, Gates):
        _check_gates(bias, q)
    if not isinstance(bias, Rows):
        return bias
    length = q.shape[-2]
    blocks = None
    # A compiler finds by itself what layers share.
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        blocks = _blocks(bias, length, length)
    return rows.masked(bias.block(0, length), 0, length) if blocks is None else blocks[0]


def _chunked(bias: Bias | None, q: Tensor, span: Span | None) -> cpu.ChunkedBias:
    length = q.shape[-2]
    if bias is None or isinstance(bias, Toeplitz):
        vector = q.new_zeros(1, length) if bias is None else _vector(bias, q)
        if tiles.serve(length, span):
            return offsets.Offsets(vector, tiles.QUERIES, span)
        return offsets.Offsets(vector, cpu.chunk_of(most_keys(span, 1, length)), span)
    chunk = cpu.chunk_of(length)
    if isinstance(bias, Gates):
        _check_gates(bias, q)
        return gates.GateRows(bias, gates.chunk_of(q.shape[0], length, chunk), span)
    blocks = _blocks(bias, length, chunk) if torch.is_grad_enabled() else None
    if blocks is None:
        return rows.LazyBlocks(bias.block, rows.chunk_of(q.shape[1], length, chunk), span)
    return rows.Blocks(blocks, chunk, span)


def _blocks(bias: Rows, length: int, chunk: int) -> list[Tensor] | None:
    """The blocks of a bias that learns, evaluated once for all layers that share it, else None."""
    kept = vars(bias).get("_blocks")
    if kept is not None and kept[0] == length:
        return kept[1]
    blocks = rows.evaluated(bias.block, length, chunk)
    if blocks is not None:
        vars(bias)["_blocks"] = (length, blocks)
        # A strong reference would be a cycle, and the blocks would outlive the step.
        owner = weakref.ref(bias)

        def forget(_: Tensor) -> None:
            if (bias := owner()) is not None:
                vars(bias).pop("_blocks", None)

        blocks[0].register_hook(forget)
    return blocks


def _dense(bias: Bias | None, q: Tensor) -> Tensor | None:
    if bias is None:
        return None
    if isinstance(bias, Toeplitz):
        return offsets.dense(_vector(bias, q))
    if isinstance(bias, Gates):
        _check_gates(bias, q)
    return bias.block(0, q.shape[-2])


def _vector(bias: Toeplitz, q: Float[Tensor, "B H T D"]) -> Float[Tensor, "H T"]:
    _, n_heads, length, _ = q.shape
    if bias.vector.ndim != 2 or bias.vector.shape[0] != n_heads or bias.vector.shape[1] < length:
        raise ValueError(
            f"Toeplitz vector of shape {tuple(bias.vector.shape)}: expected ({n_heads}, "
            f"at least {length}), heads by offsets"
        )
    return bias.vector[:, :length]


def _check_gates(bias: Gates, q: Tensor) -> None:
    for name, x in (("cumulative", bias.cumulative), ("weights", bias.weights)):
        if x is not None and x.shape != q.shape[:3]:
            raise ValueError(
                f"Gates.{name} of shape {tuple(x.shape)}: expected {tuple(q.shape[:3])}, "
                "one number a query"
            )
