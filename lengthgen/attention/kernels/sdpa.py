"""torch's scaled_dot_product_attention with the bias as a mask: any device, dtype and dropout.

`attend` takes a dense mask, as a library without structure does. On CPU a mask that requires a
gradient leaves torch's flash path and costs O(B H T^2) memory and 2.4 to 7 times the time; cpu.py
is for that. `attend_by_rows` evaluates long windows: chunks of query rows against the keys that
they see, each with its own mask, in memory linear in T.

On CUDA the order of torch's backends is set here. Without a mask cuDNN comes first on Hopper (1.7
to 2.3 times the speed of torch's FlashAttention, transformers #48163). With one it is left out: it
reinterprets a mask whose dtype is not q's (pytorch #191612) and may give NaN gradients at some
lengths (#196678). A mask always has q's dtype and aligned rows (masks.py).
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from lengthgen.attention.bias_forms import Span
from lengthgen.attention.kernels import rows
from lengthgen.attention.kernels.masks import MatrixRows, VectorRows, aligned
from lengthgen.attention.kernels.windows_and_sinks import hide, key_slices, take

MASK_AT_ONCE = 2**27  # elements of one chunk's mask (256 MiB in bfloat16)


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    scale: float,
    dropout: float = 0.0,
    span: Span | None = None,
) -> Tensor:
    """Arguments and result as in reference.attend."""
    length = q.shape[-2]
    if bias is None and span is not None:
        bias = q.new_zeros(1, length, length)
    with _backends(q, bias is not None):
        # is_causal, where it suffices: a mask costs memory and the fastest backends.
        if bias is None:
            return functional.scaled_dot_product_attention(
                q, k, v, is_causal=True, scale=scale, dropout_p=dropout
            )
        mask = hide(bias, 0, length, span).to(q.dtype)
        mask = (aligned(mask) if q.is_cuda else mask).expand(q.shape[0], q.shape[1], length, length)
        return functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, scale=scale, dropout_p=dropout
        )


def chunk_of(n_heads: int, length: int) -> int:
    """Query rows per chunk of `attend_by_rows`."""
    return rows.chunk_of(n_heads, length, 1024, MASK_AT_ONCE)


def attend_by_rows(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    masks: VectorRows | MatrixRows,
    scale: float,
    chunk: int,
    span: Span | None = None,
) -> Tensor:
    """q, k, v (B, H, T, D), masks in q's dtype -> (B, H, T, D), without gradients."""
    out = q.new_empty(q.shape)
    with torch.no_grad(), _backends(q, True):
        for first, last in rows.spans(q.shape[2], chunk):
            keys = key_slices(first, last, span, last, newest_first=False)
            mask = masks.mask(first, last)
            if span is not None:
                mask = hide(take(mask, keys, dim=-1), first, last, span, keys)
                mask = aligned(mask.contiguous())
            some_k, some_v = (take(x, keys, dim=2) for x in (k, v))
            mask = mask.expand(q.shape[0], q.shape[1], last - first, some_k.shape[2])
            out[:, :, first:last] = functional.scaled_dot_product_attention(
                q[:, :, first:last], some_k, some_v, attn_mask=mask, scale=scale
            )
    return out


def backend_order(
    capability: tuple[int, int], masked: bool, deterministic: bool
) -> list[SDPBackend]:
    """torch's backends in the order to try them on a GPU of this compute capability.

    MATH can do everything.
    """
    if masked:
        return [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    rest = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    if deterministic:  # cuDNN's backward adds in whatever order its blocks finish
        return rest
    rest.insert(0 if capability[0] >= 9 else 2, SDPBackend.CUDNN_ATTENTION)
    return rest


def backend(q: Tensor, masked: bool, dropout: float = 0.0) -> str:
    """The name of the backend that torch gives these queries, such as "flash_attention".

    q (B, H, T, D), its requires_grad as in the call to come; k and v like it.
    """
    # A mask as `attend` makes it: torch's choice may depend on its layout.
    mask = None
    if masked:
        length = q.shape[-2]
        mask = aligned(q.new_zeros(length, length)).expand(q.shape[0], q.shape[1], length, length)
    with _backends(q, masked):
        return SDPBackend(torch._fused_sdp_choice(q, q, q, mask, dropout, not masked)).name.lower()


def _backends(q: Tensor, masked: bool) -> AbstractContextManager:
    if not q.is_cuda:
        return nullcontext()
    capability = torch.cuda.get_device_capability(q.device)
    deterministic = torch.are_deterministic_algorithms_enabled()
    return sdpa_kernel(backend_order(capability, masked, deterministic), set_priority=True)
