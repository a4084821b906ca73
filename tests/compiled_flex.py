"""What FlexAttention's kernels need on an H100, without one: python -m tests.compiled_flex

Captures forward and backward on a CPU, moves the graphs to fake tensors on CUDA, lets Inductor
write its Triton kernels, and compiles FlexAttention's for sm_90. Prints a line of JSON for each:
registers a thread, bytes of its stack (spilled registers), bytes of shared memory, and products on
tensor cores (wgmma). It needs a torch built for CUDA. A driver is not needed: what would ask for
the device is replaced by an H100's answers. So this leans on torch's inside, and may break with a
new torch.
"""

import contextlib
import itertools
import json
import os
import re
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

os.environ["TORCHINDUCTOR_USE_STATIC_CUDA_LAUNCHER"] = "0"  # it keeps no binary

import torch
import triton
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.device_interface import CudaInterface
from torch._functorch.partitioners import min_cut_rematerialization_partition
from torch._inductor import decomposition, graph
from torch._inductor.codecache import PyCodeCache
from torch._inductor.compile_fx import view_to_reshape
from torch._inductor.debug import DebugContext
from torch._inductor.fx_passes.post_grad import post_grad_passes
from torch._inductor.runtime import triton_helpers
from torch._inductor.virtualized import V
from torch._subclasses import fake_tensor
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.fx.passes.fake_tensor_prop import FakeTensorProp
from torch.nn.attention import flex_attention

from lengthgen.attention.bias_forms import Gates, Span
from lengthgen.attention.kernels import flex

from .compiled_kernels import DTYPES, TARGET, _resources

BATCH, HEADS, LENGTH = 2, 4, 200
SIZES = (16, 32, 64, 80, 128)
FORMS = ("vector", "matrix", "gates", "weighted gates")
H100 = SimpleNamespace(
    name="NVIDIA H100", major=9, minor=0, warp_size=32, multi_processor_count=132,
    regs_per_multiprocessor=65536, max_threads_per_multi_processor=2048, max_threads_per_block=1024,
    shared_memory_per_block=49152, shared_memory_per_block_optin=232448, total_memory=80 << 30,
    L2_cache_size=50 << 20, clock_rate=1980000, memory_clock_rate=2600000, memory_bus_width=5120,
    gcnArchName="",
)  # fmt: skip
KERNEL = re.compile(r"async_compile\.triton\('(\w+)', '''(.*?)''', device_str='cuda'\)", re.DOTALL)


class Captured(Exception):
    """The graphs are there, and are not to be run."""


def captured(form: str, dtype: str, size: int, span: Span | None) -> dict[str, Any]:
    """The graphs of "forward" and "backward"."""
    graphs: dict[str, torch.fx.GraphModule] = {}

    def keep(name: str) -> Any:
        def compiler(module: torch.fx.GraphModule, _: Any) -> Any:
            graphs[name] = module
            return stop

        return compiler

    def stop(*_: Any) -> None:
        raise Captured

    q, k, v = (torch.zeros(BATCH, LENGTH, HEADS, size, dtype=DTYPES[dtype]) for _ in range(3))
    sums = torch.zeros(BATCH, HEADS, LENGTH, dtype=torch.float64)
    shape = {"vector": (HEADS, LENGTH), "matrix": (HEADS, LENGTH, LENGTH)}.get(form, sums.shape)
    leaves = [x.requires_grad_() for x in (q, k, v, sums, torch.zeros(shape))]

    def attend(q: Any, k: Any, v: Any, sums: Any, other: Any) -> Any:
        gates = {"gates": Gates(sums), "weighted gates": Gates(sums, other)}
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        return flex.attend(q, k, v, gates.get(form, other), 0.125, span)

    backend = aot_autograd(
        fw_compiler=keep("forward"),
        bw_compiler=keep("backward"),
        partition_fn=min_cut_rematerialization_partition,
        decompositions=decomposition.select_decomp_table(),
    )
    torch._dynamo.reset()
    both = torch._functorch.config.patch(force_non_lazy_backward_lowering=True)
    with both, contextlib.suppress(Captured):
        torch.compile(attend, fullgraph=True, backend=backend)(*leaves)
    return graphs


def pretend_an_h100() -> None:
    """Answer for the device that is not here; nothing can be traced any more."""
    torch.cuda.is_available = lambda: True
    torch.cuda.get_device_capability = lambda device=None: (9, 0)
    torch.cuda.current_device = lambda: 0
    torch.cuda.device_count = lambda: 1
    torch.cuda._lazy_init = lambda: None
    torch.cuda.is_bf16_supported = lambda *_, **__: True
    torch.cuda.get_device_properties = lambda device=None: H100
    CudaInterface.get_compute_capability = staticmethod(lambda device=None: 90)
    CudaInterface.current_device = CudaInterface.Worker.current_device = staticmethod(lambda: 0)
    CudaInterface.get_device_properties = staticmethod(lambda device=None: H100)
    CudaInterface.Worker.get_device_properties = CudaInterface.get_device_properties
    fake_tensor.init_gpu_context = lambda device: None
    triton_helpers.set_driver_to_gpu = lambda: None
    driver = SimpleNamespace(get_current_target=lambda: TARGET, get_current_device=lambda: 0)
    triton.runtime.driver.set_active(driver)
    for module in [m for m in sys.modules.values() if m.__name__.startswith("torch.")]:
        if hasattr(module, "has_triton"):
            module.has_triton = lambda *_: True


def source_of(module: torch.fx.GraphModule, backward: bool) -> str:
    """What Inductor writes for the graph on CUDA."""
    mode = fake_tensor.FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    inputs = []
    for node in module.graph.nodes:
        if node.op == "placeholder":
            value = node.meta["val"]
            with mode:
                inputs.append(
                    torch.empty_strided(
                        value.shape, value.stride(), dtype=value.dtype, device="cuda:0"
                    )
                )
        elif node.kwargs.get("device") is not None:
            node.kwargs = {**node.kwargs, "device": torch.device("cuda:0")}
    module.recompile()
    with V.set_fake_mode(mode), torch.no_grad(), V.set_debug_handler(DebugContext()):
        view_to_reshape(module)
        FakeTensorProp(module, mode=mode).propagate_dont_convert_inputs(*inputs)
        post_grad_passes(module, False)
        lowering = graph.GraphLowering(
            module, example_inputs=inputs, shape_env=mode.shape_env, is_backward=backward
        )
        with V.set_graph_handler(lowering), V.set_extern_kernel_nodes([]):
            lowering.run(*inputs)
            return lowering.codegen()[0].value


def resources(source: str) -> Iterator[dict[str, Any]]:
    """Of FlexAttention's kernels in this source, compiled."""
    for name, text in KERNEL.findall(source):
        if not name.startswith("triton_tem_"):
            continue
        kernel = getattr(PyCodeCache.load(text.replace("\\'", "'")), name)
        kernel.precompile(warm_cache_only=True)
        for result in kernel.compile_results:
            made = result.kernel
            registers, stack = _resources(made.asm["cubin"])
            yield {
                "registers": registers,
                "stack": stack,
                "shared": made.metadata.shared,
                "wgmma": made.asm["ptx"].count("wgmma.mma_async"),
            }


def main() -> None:
    flex_attention._validate_device = lambda query, key, value: None
    cases = [
        (form, dtype, size, span)
        for form, dtype, size in itertools.product(FORMS, DTYPES, SIZES)
        for span in ((None, Span(100, 4)) if size == 64 else (None,))
    ]
    graphs = [captured(*case) for case in cases]
    pretend_an_h100()
    for (form, dtype, size, span), passes in zip(cases, graphs, strict=True):
        for name, module in passes.items():
            for row in resources(source_of(module, name == "backward")):
                case = {"form": form, "dtype": dtype, "size": size, "span": str(span), "pass": name}
                print(json.dumps(case | row), flush=True)


if __name__ == "__main__":
    main()
