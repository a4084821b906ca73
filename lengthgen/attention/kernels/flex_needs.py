"""What FlexAttention needs of a machine, looked up without importing torch's compiler (seconds)."""

import os
import shutil
from functools import cache
from importlib.util import find_spec

import torch

SIZES = (16, 256)  # of heads: below, Triton has no product; above, tiles outgrow shared memory
CAPABILITY = (7, 0)  # of the GPU, Triton's least
SWITCHES = ("TORCH_COMPILE_DISABLE", "TORCHDYNAMO_DISABLE")


@cache
def missing(device: torch.device) -> str | None:
    """What this machine, whose GPU is `device`, lacks; None if nothing."""
    for switch in SWITCHES:
        if os.environ.get(switch, "0") == "1":
            return f"{switch}=1, it needs torch.compile"
    if find_spec("triton") is None:
        return "triton is not installed"
    # Triton builds the code that launches a kernel where the kernel runs first.
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or shutil.which(compiler.split()[0]) is None:
        return "no C compiler, which Triton needs: install gcc or clang, or set CC"
    capability = torch.cuda.get_device_capability(device)
    if capability < CAPABILITY:
        return f"compute capability {capability}, it needs {CAPABILITY}"
    return None
