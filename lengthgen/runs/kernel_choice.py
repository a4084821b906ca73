"""Which kernels serve a model, for the run's provenance: attention's and those of linear layers.

Where a GPU could have done with less memory, one line of the log says why it cannot.
Call these under the run's autocast: it decides the dtype, and the dtype decides the kernel.
Shape letters: B batch, T tokens in a window, H heads, D head size, E width.
"""

import logging
from collections.abc import Callable
from functools import cache
from typing import TypeVar

import torch

from lengthgen.attention import dispatch, linear
from lengthgen.attention.bias_forms import Gates
from lengthgen.errors import UserError
from lengthgen.model import Transformer

TRACED = "auto, as torch.compile traces it"
T = TypeVar("T")
log = logging.getLogger(__name__)


def linear_of(model: Transformer, compiled: bool = False) -> str:
    """The library of the products with weights. ConfigError if the one requested cannot serve."""
    weight = model.embedding.weight
    kernel = linear.chosen(weight, weight, model.linear)
    return TRACED if compiled and model.linear == "auto" else kernel


@torch.no_grad()
def kernels_of(model: Transformer, batch: int, length: int, compiled: bool = False) -> list[str]:
    """For each layer the kernel of a training step of `batch` windows of `length` tokens.

    "general" where the scheme computes the scores itself. compiled: torch.compile traces the step.
    ConfigError if the kernel requested cannot serve.
    """
    scheme, device, sizes = model.scheme, model.embedding.weight.device, model.scheme.dimensions
    requested, dropout = model.kernel, model.dropout.p
    with torch.autocast(device.type, enabled=False):
        tokens = torch.zeros(1, length, dtype=torch.int64, device=device)
        biases = scheme.biases(scheme.read(tokens))
    # Only shapes, dtype and device decide: expanded scalars take no memory.
    q = torch.empty((), device=device).expand(batch, sizes.n_heads, length, sizes.head_dim)
    x = torch.zeros((), device=device).expand(batch, length, sizes.width)
    kernels = []
    for layer, bias in enumerate(biases):
        if scheme.general(layer):
            kernels.append("general")
            continue
        with torch.autocast(device.type, enabled=False):
            gates = scheme.gates(x, layer)
        bias = bias if gates is None else Gates(gates)
        # A kernel without gradients must not be chosen: the step that is asked about trains.
        span = scheme.span(layer)
        with torch.enable_grad():
            kernel = dispatch.chosen(q, bias, dropout, requested, span)
        why = dispatch.why_not_flex(q, bias, dropout, span)
        if why is not None and requested == "auto":
            _log_once(why)
        # On a CPU the choice depends on whether torch.compile is tracing.
        traced = compiled and requested == "auto" and device.type == "cpu"
        kernels.append(TRACED if traced else kernel)
    return kernels


@cache
def _log_once(why: str) -> None:
    log.warning("attention makes a mask of every score, as FlexAttention cannot serve: %s", why)


def with_fallback(work: Callable[[], T], model: Transformer, kernel: str) -> tuple[T, str]:
    """What `work` returns, and the kernel it was asked to use: `kernel` or, where that fails on a
    GPU and was "auto", torch's own attention, with a line that says so.
    """
    try:
        return work(), kernel
    except Exception as error:
        on_cuda = model.embedding.weight.device.type == "cuda"
        if isinstance(error, UserError) or kernel != "auto" or not on_cuda:
            raise
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    # Outside the except block, whose traceback would keep the tensors alive.
    log.warning("evaluation failed with kernel=auto (%s); going on with kernel=sdpa", why)
    model.use_kernel("sdpa")
    torch.cuda.empty_cache()
    return work(), "sdpa"
