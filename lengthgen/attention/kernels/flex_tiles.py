"""The tiles of FlexAttention's forward kernel, in place of torch's own.

Torch's were chosen without a bias. For heads of 64 in 16 bits on an H100 they need 245,760 bytes of
shared memory with a bias vector or matrix, because the pipeline loads tiles of it ahead, and a
block may have 232,448: the kernel would not start. These take 131,072 bytes at most, which an A100
has too, and spill next to no registers (tests/compiled_flex.py). The backward kernel fits as
torch cuts it.
"""

from typing import Any, cast

import torch
from torch.nn.attention.flex_attention import FlexKernelOptions

LARGEST = 128  # size of heads; larger ones get small tiles of torch's


def options_of(biased: bool, dtype: torch.dtype, size: int) -> FlexKernelOptions:
    """kernel_options of flex_attention for heads of this size."""
    # The kernel for a few queries against many keys has rules of its own, and gains nothing here.
    options: dict[str, Any] = {"FORCE_USE_FLEX_ATTENTION": True}
    if not biased or size > LARGEST:
        return cast(FlexKernelOptions, options)
    small = size <= 64
    if dtype != torch.float32:
        rows, columns, stages = 128, 64, 3 if small else 2
    else:
        rows, columns, stages = (64, 32, 2) if small else (32, 32, 1)
    tile = {"BLOCK_M": rows, "BLOCK_N": columns, "num_stages": stages, "num_warps": 8}
    options |= {f"fwd_{name}": value for name, value in tile.items()}
    return cast(FlexKernelOptions, options)
