"""What Triton's kernels need on an H100, without one: python -m tests.compiled_kernels

Compiles the gradients of biases for sm_90 by Triton's own ptxas, for every form, dtype and head
size with the tile that triton_bias.cut_of and triton_gates.cut_of choose, and prints a line of JSON
for each: registers a thread, bytes of its stack (spilled registers), bytes of shared memory, and
products on tensor cores (wgmma). In a process of its own, without Triton's interpreter.
"""

import itertools
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from lengthgen.attention.kernels import triton_bias, triton_gates

TARGET = GPUTarget("cuda", 90, 32)
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
SIZES = (16, 32, 64, 80, 96, 128)
MODES = ("ordered", "atomic", "matrix", "gates", "weighted gates")
TENSORS = ("q", "k", "v", "grad")
STRIDES = ("_b", "_h", "_t")
OTHERS = {"schedule": "*i32", "scale": "fp32"} | dict.fromkeys(
    ("n_heads", "length", "n_programs", "window", "sinks"), "i32"
)  # the rest: tensors in float32


def compiled(dtype: str, size: int, mode: str) -> dict[str, Any]:
    given: dict[str, Any] = {"SIZE": size, "PADDED": triton_bias.padded_size(size)}
    if mode.endswith("gates"):
        kernel, cut = triton_gates._gate_sums, triton_gates.cut_of(DTYPES[dtype], size)
        given["WEIGHTED"] = mode == "weighted gates"
    else:
        form = "matrix" if mode == "matrix" else "vector"
        kernel, cut = triton_bias._score_gradients, triton_bias.cut_of(DTYPES[dtype], size, form)
        given["MODE"] = mode
    given["ROWS"], given["COLUMNS"] = cut.tile
    types, constants, attributes = {}, {}, {}
    for place, name in enumerate(kernel.arg_names):
        types[name] = _type(name, dtype, given)
        if name in given:
            constants[place,] = given[name]
        elif types[name].startswith("*") or name.endswith(STRIDES):
            attributes[place,] = [["tt.divisibility", 16]]  # as the launcher finds of aligned ones
    source = ASTSource(kernel, types, constants, attributes)
    options = {"num_warps": cut.warps, "num_stages": cut.stages}
    made = triton.compile(source, target=TARGET, options=options)
    registers, stack = _resources(made.asm["cubin"])
    return {
        "mode": mode,
        "dtype": dtype,
        "size": size,
        "tile": cut.tile,
        "warps": cut.warps,
        "stages": cut.stages,
        "registers": registers,
        "stack": stack,
        "shared": made.metadata.shared,
        "wgmma": made.asm["ptx"].count("wgmma.mma_async"),
    }


def _type(name: str, dtype: str, given: dict[str, Any]) -> str:
    """Triton's word for the type of an argument."""
    if name in given:
        return "constexpr"
    if name in TENSORS:
        return f"*{dtype}"
    return "i32" if name.endswith(STRIDES) else OTHERS.get(name, "*fp32")


def _resources(cubin: bytes) -> tuple[int, int]:
    """(registers a thread, bytes of stack a thread)"""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(tool), "--dump-resource-usage", file.name]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = [re.search(rf"{word}:(\d+)", said) for word in ("REG", "STACK")]
    registers, stack = (int(match[1]) for match in found if match)
    return registers, stack


def rows() -> Iterator[dict[str, Any]]:
    for mode, dtype, size in itertools.product(MODES, DTYPES, SIZES):
        yield compiled(dtype, size, mode)


if __name__ == "__main__":
    for row in rows():
        print(json.dumps(row), flush=True)
