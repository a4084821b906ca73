"""A model with the weights of its seed.

Every weight is drawn from a generator keyed by (seed, parameter name). For one seed all weights but
the scheme's are bit-identical across schemes, so that their differences are paired.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import torch

from lengthgen.errors import TooLargeError, is_out_of_memory
from lengthgen.model.settings import ModelConfig, refuse_too_large
from lengthgen.model.transformer import Transformer
from lengthgen.schemes.base import Dimensions, Scheme


def build(
    config: ModelConfig,
    make_scheme: Callable[[Any, Dimensions], Scheme],
    scheme_config: Any,
    *,
    train_length: int,
    vocab_size: int,
    seed: int,
) -> Transformer:
    """A Transformer whose every weight is a function of (seed, its name, its shape).

    make_scheme: a scheme's class, or one that wraps it in modifiers.
    """
    refuse_too_large(config, vocab_size)
    dimensions = Dimensions(
        config.n_layers, config.n_heads, config.width // config.n_heads, config.width, train_length
    )
    try:
        model = Transformer(config, make_scheme(scheme_config, dimensions), vocab_size)
        initialise(model, seed)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise TooLargeError(
            "out of memory while the model was made; choose a smaller one, or smaller options of "
            "its scheme"
        ) from error
    return model


def initialise(model: Transformer, seed: int) -> None:
    """GPT-2's weights: N(0, 0.02^2), and norms of 1; a scheme initialises its own parameters.

    Where weights write to the residual stream, 0.02 is divided by sqrt(2 n_layers).
    """
    residual = (2 * model.config.n_layers) ** -0.5
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("scheme."):
                continue
            if parameter.ndim == 1:
                parameter.fill_(1.0)
            else:
                writes = name.endswith(("attention.out.weight", "mlp.down.weight"))
                std = 0.02 * (residual if writes else 1.0)
                parameter.normal_(0.0, std, generator=keyed_generator(seed, name))
        model.scheme.initialise(lambda name: keyed_generator(seed, f"scheme.{name}"))


def keyed_generator(seed: int, name: str) -> torch.Generator:
    """A CPU generator that is a function of (seed, name) alone."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def parameter_counts(model: Transformer) -> dict[str, int]:
    """Numbers of parameters: `positional` (the scheme's), `total`."""
    positional = sum(p.numel() for p in model.scheme.parameters())
    return {"positional": positional, "total": sum(p.numel() for p in model.parameters())}
