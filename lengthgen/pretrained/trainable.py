"""A pretrained model made ready to be trained on: in little memory, whole or by LoRA.

Each layer is computed again in the backward pass (Chen et al. 2016, arXiv 1604.06174), so that a
long window keeps one tensor (B, T, E) a layer. LoRA is the library peft's; its first weights are a
function of the seed.

Shape letters: B windows, T tokens, E width.
"""

import functools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lengthgen.errors import ConfigError
from lengthgen.model import keyed_generator
from lengthgen.pretrained.adapter_settings import LoraConfig
from lengthgen.pretrained.reading import Pretrained

EXTRA = 'pip install "lengthgen[pretrained]"'
A, B, BASE, ADAPTER = "lora_A", "lora_B", ".base_layer.", "default"  # peft's names


def recompute_layers(model: Pretrained) -> None:
    """Let every layer keep its input alone for the backward pass. The numbers stay the same."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    for module in model.inner.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.forward = functools.partial(_recomputed, module.forward)


def _recomputed(forward: Any, *inputs: Any, **also: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*inputs, **also)
    # Nothing in it is random.
    return checkpoint(forward, *inputs, use_reentrant=False, preserve_rng_state=False, **also)


def add_lora(model: Pretrained, config: LoraConfig, seed: int) -> None:
    """Freeze the model's weights but for the scheme's, and give linear layers matrices to train.

    From then on the model's state is what is trained: the rest is in the files that it was read
    from. ConfigError without peft, and for layers that the model has not.
    """
    try:
        import peft
    except ImportError:
        raise ConfigError(f"adapter=lora needs the library peft: {EXTRA}") from None
    names = _layers(model.inner, config.layers)
    settings = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type] # any number will do
        target_modules=names,
        fan_in_fan_out=_is_transposed(model.inner, names),
    )
    peft.inject_adapter_in_model(settings, model.inner)
    with torch.no_grad():
        for name, parameter in model.inner.named_parameters():
            if A in name:
                generator = keyed_generator(seed, name)
                nn.init.kaiming_uniform_(parameter, a=math.sqrt(5), generator=generator)
            elif B in name:
                parameter.zero_()
    if config.embeddings_and_norms:
        for weight in _embeddings_and_norms(model):
            weight.requires_grad_(True)
    model.register_state_dict_post_hook(_without_frozen)
    model.register_load_state_dict_pre_hook(_with_frozen)


@torch.no_grad()
def merged(model: Pretrained) -> dict[str, Tensor]:
    """The weights by transformers' names, with what LoRA has added. What is tied has both names."""
    weights = {}
    for name, parameter in model.inner.named_parameters(remove_duplicate=False):
        if not (A in name or B in name):
            weights[name.replace(BASE, ".")] = parameter.detach().clone()
    for name, module in model.inner.named_modules():
        if hasattr(module, A):
            weights[f"{name}.weight"] += module.get_delta_weight(ADAPTER)
    return weights


def _layers(inner: nn.Module, wanted: list[str] | None) -> list[str]:
    """The full names of the linear layers to adapt. ConfigError if a wanted one is not there."""
    head = inner.get_output_embeddings()  # type: ignore[operator]
    linear = [
        name for name, module in inner.named_modules() if _is_linear(module) and module is not head
    ]
    if wanted is None:
        return linear
    last = {name.rpartition(".")[2] for name in linear}
    if missing := [name for name in wanted if name not in last]:
        raise ConfigError(
            f"adapter.layers: this model has no linear layer {missing[0]}; expected some of "
            f"{', '.join(sorted(last))}"
        )
    return [name for name in linear if name.rpartition(".")[2] in wanted]


def _is_linear(module: nn.Module) -> bool:
    """GPT-2's, Conv1D, are linear layers too."""
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, nn.Linear | Conv1D)


def _is_transposed(inner: nn.Module, names: list[str]) -> bool:
    """Whether these layers hold W^T, as those of GPT-2 do."""
    return not any(isinstance(inner.get_submodule(name), nn.Linear) for name in names)


def _embeddings_and_norms(model: Pretrained) -> Iterator[Tensor]:
    """What a norm holds are vectors, and no linear layer around them."""
    yield model.embedding.weight
    for module in model.inner.modules():
        if not _is_linear(module):
            yield from (p for p in module.parameters(recurse=False) if p.ndim == 1)


def _without_frozen(
    model: nn.Module, state: dict[str, Any], prefix: str, metadata: Mapping[str, Any]
) -> None:
    for name in _frozen(model):
        state.pop(prefix + name, None)


def _with_frozen(model: nn.Module, state: dict[str, Any], prefix: str, *ignored: Any) -> None:
    for name, parameter in _frozen(model).items():
        state.setdefault(prefix + name, parameter)


def _frozen(model: nn.Module) -> dict[str, nn.Parameter]:
    """Under all names: what is tied has two."""
    named = model.named_parameters(remove_duplicate=False)
    return {name: parameter for name, parameter in named if not parameter.requires_grad}
