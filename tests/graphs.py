"""How many graphs torch.compile makes of the training loss.

python -m tests.graphs KERNEL [SCHEME ...]

KERNEL: one of attention's, or gpu: what auto would take on a GPU. A line of JSON for each scheme:
its name, the number of graphs, what could not be traced (empty: nothing), whether complex numbers
are in the graph, for which Inductor has no code, what serves attention in it, the elements of its
largest tensor, and for auto the difference from the mean loss that is not compiled. Nothing is
compiled: a backend that captures runs the graph as it is, or, for others than auto, not at all:
flex would compile its own part. In a process of its own, for the tests' checks of shapes cannot be
traced.

Shape letters: B batch, H heads, T positions.
"""

import json
import sys
from typing import Any

import torch
from torch.nn.attention import flex_attention

from lengthgen import model as models
from lengthgen import schemes
from lengthgen.attention import dispatch
from lengthgen.attention.kernels import cross_entropy

SHAPE = models.ModelConfig(n_layers=3, n_heads=2, width=32)
L, VOCAB, BATCH = 24, 40, 2
# For the largest tensor: a batch and a length whose scores outnumber every other thing.
LONG, FEW, SEQUENCES = 256, 8, 48
NOT_RUN = ("flex", "gpu", "sdpa")


class Captured(Exception):
    """The graph is there, and is not to be run."""


def capture(name: str, kernel: str) -> dict[str, Any]:
    kind, large = schemes.load(name), kernel in ("gpu", "sdpa")
    length, vocab, batch = (LONG, FEW, SEQUENCES) if large else (L, VOCAB, BATCH)
    model = models.build(SHAPE, kind, kind.Config(), train_length=length, vocab_size=vocab, seed=0)
    model.use_kernel("auto" if kernel == "gpu" else kernel)
    model.train()
    model.scheme.begin_step(0, 10)
    graphs = []

    def keep(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(graph)
        return stop if kernel in NOT_RUN else graph.forward

    def stop(*_: torch.Tensor) -> None:
        raise Captured

    tokens = torch.randint(vocab, (batch, length), generator=torch.Generator().manual_seed(0))
    found: dict[str, Any] = {"scheme": name, "kernel": kernel, "error": ""}
    try:
        whole = torch.compile(model.total_loss, fullgraph=True, backend=keep)
        difference = _mean(whole, tokens) - _mean(model.total_loss, tokens)
        found["difference"] = float(difference.detach().abs())
    except Captured:
        pass
    except Exception as error:  # torch's own kinds of errors differ between its versions
        found["error"] = f"{type(error).__name__}: {' '.join(str(error).split())[:4000]}"
    torch._dynamo.reset()
    made = [node.meta.get("example_value") for graph in graphs for node in graph.graph.nodes]
    tensors = [value for value in made if isinstance(value, torch.Tensor)]
    assert tensors or not graphs  # else nothing would be looked at
    return found | {
        "graphs": len(graphs),
        "complex": any(map(torch.is_complex, tensors)),
        "attention": sorted({name for graph in graphs for name in _attention(graph)}),
        "largest": max((tensor.numel() for tensor in tensors), default=0),
    }


def _attention(graph: torch.fx.GraphModule) -> set[str]:
    """The names of torch's attention functions that a graph calls."""
    names = {
        getattr(node.target, "__name__", str(node.target))
        for node in graph.graph.nodes
        if node.op == "call_function"
    }
    return names & {"flex_attention", "scaled_dot_product_attention"}


def _mean(total_loss: Any, tokens: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(0)  # of schemes that draw positions
    return total_loss(tokens, tokens) / tokens.numel()


def main(kernel: str, names: list[str]) -> None:
    if kernel in ("flex", "gpu"):
        # What only the device stands in the way of.
        # torch traces FlexAttention with gradients on a CPU, and then refuses the device.
        flex_attention._validate_device = lambda query, key, value: None
        dispatch._flex_obstacle = lambda q, dropout: None
        cross_entropy.serves = lambda device: True
    for name in names or schemes.names():
        print(json.dumps(capture(name, kernel)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
