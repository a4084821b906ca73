"""The product of activations and a weight, x W^T, by the faster of torch's two libraries.

| kernel | when it is chosen |
|---|---|
| onednn | float32 on a CPU with AVX-512 that MKL does not use (kernels/onednn.py) |
| torch | everything else |

Both are exact up to rounding. Shape letters: I inputs, O outputs.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from lengthgen.attention.kernel_names import PRODUCTS as KERNELS
from lengthgen.attention.kernels import onednn
from lengthgen.errors import ConfigError


class Linear(nn.Linear):
    """torch.nn.Linear without a bias: (..., I) -> (..., O)."""

    def __init__(self, n_inputs: int, n_outputs: int):
        super().__init__(n_inputs, n_outputs, bias=False)
        self.kernel = "auto"  # of KERNELS

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.kernel)


def linear(x: Tensor, weight: Tensor, force: str = "auto") -> Tensor:
    """x (..., I), weight (O, I) of one floating dtype -> (..., O).

    force: one of KERNELS; ConfigError if that kernel cannot do this.
    """
    product = onednn.product if chosen(x, weight, force) == "onednn" else functional.linear
    return product(x, weight)


def chosen(x: Tensor, weight: Tensor, force: str = "auto") -> str:
    """The kernel that `linear` uses for these factors: one of KERNELS, never "auto"."""
    if force not in KERNELS:
        raise ConfigError(f"linear={force!r} is unknown: expected one of {', '.join(KERNELS)}")
    if force == "torch":
        return force
    obstacle = _obstacle(x, weight)
    if force == "onednn" and obstacle:
        raise ConfigError(f"linear=onednn cannot be used here ({obstacle}): use 'auto'")
    return "onednn" if not obstacle and (force == "onednn" or onednn.faster()) else "torch"


def _obstacle(x: Tensor, weight: Tensor) -> str | None:
    if x.device.type != "cpu":
        return f"device {x.device.type}"
    if not x.dtype == weight.dtype == torch.float32:
        return f"dtypes {x.dtype} and {weight.dtype}, it needs float32"
    # Autocast does not know the operator.
    if torch.is_autocast_enabled("cpu"):
        return "autocast is on"
    if torch.compiler.is_compiling():
        return "torch.compile is tracing"
    if x.ndim < 2 or x.numel() == 0:
        return f"shape {tuple(x.shape)}, it needs rows"
    return None if onednn.available() else "this torch lacks oneDNN's product"
