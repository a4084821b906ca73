"""Which kernels serve a model: asked of attention.py and linear.py once, for the run's provenance.

Shape letters: B batch, T tokens in a window, H heads, D head size, E width.
"""

import torch

from lengthgen.attention import linear
from lengthgen.attention.bias_forms import Gates
from lengthgen.model import Transformer


def linear_of(model: Transformer, compiled: bool = False) -> str:
    """What multiplies the activations and the weights of `model`, under the autocast of now; ConfigError if what was asked for cannot."""
    weight = model.embedding.weight
    found = linear.chosen(weight, weight, model.linear)
    return "auto, as torch.compile traces it" if compiled and model.linear == "auto" else found


@torch.no_grad()
def kernels_of(model: Transformer, batch: int, length: int, compiled: bool = False) -> list[str]:
    """For each layer the kernel of a training step of `batch` windows of `length` tokens; "general" where the scheme's own scores are used.

    To be called under the run's autocast. compiled: torch.compile traces the step, and what it traces is chosen then.
    ConfigError if the kernel that was asked for cannot serve.
    """
    from lengthgen.attention import dispatch

    scheme, device = model.scheme, model.embedding.weight.device
    with torch.autocast(device.type, enabled=False):
        biases = scheme.biases(
            scheme.read(torch.zeros(1, length, dtype=torch.int64, device=device))
        )
    shape = (batch, model.config.n_heads, length, model.config.width // model.config.n_heads)
    q = torch.empty((), device=device).expand(shape)
    x = torch.zeros((), device=device).expand(batch, length, model.config.width)
    found = []
    for layer, (block, bias) in enumerate(zip(model.blocks, biases, strict=True)):
        if scheme.general(layer):
            found.append("general")
            continue
        with torch.autocast(device.type, enabled=False):
            gates = scheme.gates(x, layer)
        bias = bias if gates is None else Gates(gates)
        with torch.enable_grad():
            kernel = dispatch.chosen(
                q, bias, model.config.dropout, block.attention.kernel, scheme.span(layer)
            )
        found.append(
            "auto, as torch.compile traces it"
            if compiled and block.attention.kernel == "auto"
            else kernel
        )
    return found
