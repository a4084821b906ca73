"""A model of a stock class of `transformers` with a lengthgen model's weights.

Shape letters: B sequences, T positions, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor

from lengthgen.errors import ConfigError
from lengthgen.exporting import needed
from lengthgen.exporting.architectures.base import Architecture
from lengthgen.exporting.traits import Traits
from lengthgen.model import Transformer


@torch.no_grad()
def build(architecture: Architecture, traits: Traits, model: Transformer, length: int) -> Any:
    """A PreTrainedModel in evaluation mode, float32. length: its longest input if it is bounded.

    Every parameter is set: from the model, or to zero where the class has a bias. ConfigError if
    this version of transformers has other parameters than the mapping knows.
    """
    cls = getattr(needed.transformers(), architecture.name)
    stock = cls(cls.config_class(**architecture.config(traits, length))).eval()
    own = model.state_dict()
    weights = architecture.weights(traits, own, length)
    readout = stock.get_output_embeddings().weight
    head = architecture.head(traits, own)
    unknown = []
    for name, parameter in stock.named_parameters():
        if name in weights:
            parameter.copy_(weights.pop(name))
        elif name.endswith(".bias"):
            parameter.zero_()
        elif parameter is readout and head is not None:
            parameter.copy_(head)
        else:
            unknown.append(name)
    if unknown or weights:
        raise ConfigError(
            f"{architecture.name} of transformers {needed.transformers().__version__} has other "
            f"parameters than lengthgen knows ({', '.join([*unknown, *weights][:4])}); "
            "install the version in constraints.txt"
        )
    return stock


@torch.no_grad()
def largest_difference(model: Transformer, exported: Any, tokens: Tensor) -> tuple[float, float]:
    """Of the logits (B, T, V) of both on tokens (B, T); and the largest logit, for its scale."""
    ours = model.logits(model(tokens))
    theirs = exported(tokens, use_cache=False).logits
    return (theirs - ours).abs().max().item(), ours.abs().max().item()
