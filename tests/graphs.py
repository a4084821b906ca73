"""How many graphs torch.compile makes of the training loss: python -m tests.graphs KERNEL

A line of JSON for each scheme: its name, the number of graphs, what could not be traced (empty:
nothing), whether complex numbers are in the graph, for which Inductor has no code, and, but for
flex, the largest difference from the loss that is not compiled. Nothing is
compiled: a backend that captures runs the graph as it is, or, for flex, which would compile its own
part, not at all. In a process of its own, for the tests' checks of shapes cannot be traced.
"""

import json
import sys
from typing import Any

import torch
from torch.nn.attention import flex_attention

from lengthgen import model as models
from lengthgen import schemes
from lengthgen.attention import dispatch
from lengthgen.attention.bias_forms import Gates

SHAPE = models.ModelConfig(n_layers=3, n_heads=2, width=32)
L, VOCAB = 24, 40


class Captured(Exception):
    """The graph is there, and is not to be run."""


def capture(name: str, kernel: str) -> dict[str, Any]:
    kind = schemes.load(name)
    model = models.build(SHAPE, kind, kind.Config(), train_length=L, vocab_size=VOCAB, seed=0)
    model.use_kernel(kernel)
    model.train()
    model.scheme.begin_step(0, 10)
    graphs = []

    def keep(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(graph)
        return stop if kernel == "flex" else graph.forward

    def stop(*_: torch.Tensor) -> None:
        raise Captured

    tokens = torch.randint(VOCAB, (2, L), generator=torch.Generator().manual_seed(0))
    found: dict[str, Any] = {"scheme": name, "kernel": kernel, "error": ""}
    try:
        whole = torch.compile(model.losses, fullgraph=True, backend=keep)
        difference = (_losses(whole, tokens) - _losses(model.losses, tokens)).detach()
        found["difference"] = float(difference.abs().max())
    except Captured:
        pass
    except Exception as error:  # torch's own kinds of errors differ between its versions
        found["error"] = f"{type(error).__name__}: {' '.join(str(error).split())[:4000]}"
    torch._dynamo.reset()
    made = [node.meta.get("example_value") for graph in graphs for node in graph.graph.nodes]
    tensors = [value for value in made if isinstance(value, torch.Tensor)]
    assert tensors or not graphs  # else nothing would be looked at
    return found | {"graphs": len(graphs), "complex": any(map(torch.is_complex, tensors))}


def _losses(losses: Any, tokens: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(0)  # of schemes that draw positions
    return losses(tokens, tokens)


def main(kernel: str) -> None:
    if kernel == "flex":
        # What only the device stands in the way of; the form for gates is missing everywhere.
        # torch traces FlexAttention with gradients on a CPU, and then refuses the device.
        flex_attention._validate_device = lambda query, key, value: None
        obstacle = "it has no form for gates"
        dispatch._flex_obstacle = lambda q, bias, dropout: (
            obstacle if isinstance(bias, Gates) else None
        )
    for name in schemes.names():
        print(json.dumps(capture(name, kernel)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
