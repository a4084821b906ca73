"""Llama and its relatives: rotary models with separate projections, under Llama's names.

Sources: transformers/models/{llama,mistral,qwen3,smollm3,arcee,starcoder2,stablelm}. All rotate
pairs (k, k + D/2). A window in every one of them is i - W < j <= i, as lengthgen's.

| class | norm | MLP | what it has besides |
|---|---|---|---|
| Llama | RMSNorm | SwiGLU | |
| Mistral | RMSNorm | SwiGLU | one window for every layer |
| Qwen3 | RMSNorm | SwiGLU | norms of queries and keys; windows layer by layer |
| SmolLM3 | RMSNorm | SwiGLU | windows layer by layer, layers without positions |
| Arcee | RMSNorm | plain, of any activation | |
| Starcoder2 | LayerNorm | plain, of any activation | one window for every layer |
| StableLM | LayerNorm | SwiGLU | norms of queries and keys; rotates a part of a head |
"""

from collections.abc import Iterator
from typing import Any, ClassVar

from torch import Tensor

from lengthgen.exporting.architectures.base import (
    EPSILON,
    Architecture,
    Weights,
    channel_order,
    identifiers,
    layers,
    longest_input,
    queries_keys_values,
    rope_parameters,
    window_of,
)
from lengthgen.exporting.traits import Rotation, Traits


class Llama(Architecture):
    name = "LlamaForCausalLM"
    norm, activation = "rmsnorm", "swiglu"
    positions: ClassVar[tuple[type, ...]] = (Rotation,)
    still_pairs = True
    epsilon = "rms_norm_eps"

    def config(self, traits: Traits, length: int) -> dict[str, Any]:
        model = traits.model
        return identifiers(traits) | {
            "hidden_size": model.width,
            "intermediate_size": model.hidden,
            "num_hidden_layers": model.n_layers,
            "num_attention_heads": model.n_heads,
            "num_key_value_heads": model.n_heads,
            "hidden_act": "silu" if model.activation == "swiglu" else "gelu",  # exact
            "max_position_embeddings": longest_input(traits),
            "rope_parameters": rope_parameters(traits),
            "attention_dropout": model.dropout,
            self.epsilon: EPSILON,
        }

    def weights(self, traits: Traits, own: Weights, length: int) -> dict[str, Tensor]:
        weights = {
            "model.embed_tokens.weight": own["embedding.weight"],
            "model.norm.weight": own["norm.weight"],
        }
        for number, block in enumerate(layers(traits, own)):
            parts = {**dict(self._attention(traits, block)), **self._mlp(block)}
            parts["input_layernorm"] = block["attention_norm.weight"]
            parts["post_attention_layernorm"] = block["mlp_norm.weight"]
            for name, weight in parts.items():
                weights[f"model.layers.{number}.{name}.weight"] = weight
        return weights

    def _attention(self, traits: Traits, block: Weights) -> Iterator[tuple[str, Tensor]]:
        for name, weight in zip("qkv", queries_keys_values(traits, block), strict=True):
            yield f"self_attn.{name}_proj", weight.flatten(0, 1)
        yield "self_attn.o_proj", block["attention.out.weight"]
        if traits.model.qk_norm:
            yield from self._norms(traits, block)

    def _norms(self, traits: Traits, block: Weights) -> Iterator[tuple[str, Tensor]]:
        order = channel_order(traits)
        yield "self_attn.q_norm", block["attention.q_norm.weight"][order]
        yield "self_attn.k_norm", block["attention.k_norm.weight"][order]

    def _mlp(self, block: Weights) -> dict[str, Tensor]:
        gate, value = block["mlp.up.weight"].chunk(2)
        return {
            "mlp.gate_proj": gate,
            "mlp.up_proj": value,
            "mlp.down_proj": block["mlp.down.weight"],
        }


class Mistral(Llama):
    name = "MistralForCausalLM"
    windows = "every layer"

    def config(self, traits: Traits, length: int) -> dict[str, Any]:
        return super().config(traits, length) | {"sliding_window": window_of(traits)}


class Qwen3(Llama):
    name = "Qwen3ForCausalLM"
    positions = (Rotation, type(None))
    qk_norm = (True,)
    windows = "any layer"

    def config(self, traits: Traits, length: int) -> dict[str, Any]:
        layers = {"head_dim": traits.head_dim, **_windows_by_layer(traits)}
        return super().config(traits, length) | layers


class SmolLM3(Llama):
    name = "SmolLM3ForCausalLM"
    positions = (Rotation, type(None))
    windows = "any layer"
    silent_layers = True

    def config(self, traits: Traits, length: int) -> dict[str, Any]:
        acts = [int(traits.positions is not None and not silent) for silent in traits.silent]
        layers = {"no_rope_layers": acts, **_windows_by_layer(traits)}  # 1: the layer rotates
        return super().config(traits, length) | layers


class Arcee(Llama):
    name = "ArceeForCausalLM"
    positions = (Rotation, type(None))
    activation = "gelu"

    def _mlp(self, block: Weights) -> dict[str, Tensor]:
        return {"mlp.up_proj": block["mlp.up.weight"], "mlp.down_proj": block["mlp.down.weight"]}


class Starcoder2(Llama):
    name = "Starcoder2ForCausalLM"
    norm, activation = "layernorm", "gelu"
    windows = "every layer"
    epsilon = "norm_epsilon"

    def config(self, traits: Traits, length: int) -> dict[str, Any]:
        own = {"sliding_window": window_of(traits), "use_bias": False}
        dropout = {"residual_dropout": traits.model.dropout}
        return super().config(traits, length) | own | dropout

    def _mlp(self, block: Weights) -> dict[str, Tensor]:
        return {"mlp.c_fc": block["mlp.up.weight"], "mlp.c_proj": block["mlp.down.weight"]}


class StableLm(Llama):
    name = "StableLmForCausalLM"
    norm = "layernorm"
    qk_norm = (False, True)
    partial_rotation = True
    still_pairs = False
    epsilon = "layer_norm_eps"

    def config(self, traits: Traits, length: int) -> dict[str, Any]:
        own = {"qk_layernorm": traits.model.qk_norm, "use_parallel_residual": False}
        return super().config(traits, length) | own

    def _norms(self, traits: Traits, block: Weights) -> Iterator[tuple[str, Tensor]]:
        # It has a norm for each head, lengthgen one for all.
        order = channel_order(traits)
        for number in range(traits.model.n_heads):
            for name in "qk":
                weight = block[f"attention.{name}_norm.weight"]
                yield f"self_attn.{name}_layernorm.norms.{number}", weight[order]


def _windows_by_layer(traits: Traits) -> dict[str, Any]:
    """Which layers have the window, for classes that say it layer by layer."""
    window = window_of(traits)
    kinds = ["sliding_attention" if span and span.window else "full_attention"
             for span in traits.spans]  # fmt: skip
    return {
        "use_sliding_window": window is not None,
        "sliding_window": window,
        "layer_types": kinds,
    }
