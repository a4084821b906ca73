"""GPT-NeoX and Persimmon: rotary models with LayerNorm, a plain MLP and one fused projection.

Sources: transformers/models/{gpt_neox,persimmon}. The projection holds for each head its query, key
and value: (H, 3, D, E). Both rotate the first channels of a head, pairs (k, k + R/2); lengthgen's
blocks are sequential, so use_parallel_residual is off. Persimmon normalises queries and keys.
"""

from typing import Any, ClassVar

import torch
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
)
from lengthgen.exporting.traits import Rotation, Traits


class Fused(Architecture):
    """What both share."""

    norm, activation = "layernorm", "gelu"
    positions: ClassVar[tuple[type, ...]] = (Rotation,)
    partial_rotation = True
    trunk: str  # the name that their weights begin with
    attention: str
    last_norm: str
    embedding: str

    def config(self, traits: Traits, length: int) -> dict[str, Any]:
        model = traits.model
        return identifiers(traits) | {
            "hidden_size": model.width,
            "intermediate_size": model.hidden,
            "num_hidden_layers": model.n_layers,
            "num_attention_heads": model.n_heads,
            "hidden_act": "gelu",  # exact
            "max_position_embeddings": longest_input(traits),
            "rope_parameters": rope_parameters(traits),
            "attention_dropout": model.dropout,
            "hidden_dropout": model.dropout,
            "layer_norm_eps": EPSILON,
        }

    def weights(self, traits: Traits, own: Weights, length: int) -> dict[str, Tensor]:
        weights = {
            f"{self.trunk}.{self.embedding}.weight": own["embedding.weight"],
            f"{self.trunk}.{self.last_norm}.weight": own["norm.weight"],
        }
        for number, block in enumerate(layers(traits, own)):
            for name, weight in self._block(traits, block).items():
                weights[f"{self.trunk}.layers.{number}.{name}.weight"] = weight
        return weights

    def _block(self, traits: Traits, block: Weights) -> dict[str, Tensor]:
        fused = torch.stack(queries_keys_values(traits, block), dim=1)
        return {
            "input_layernorm": block["attention_norm.weight"],
            "post_attention_layernorm": block["mlp_norm.weight"],
            f"{self.attention}.query_key_value": fused.flatten(0, 2),
            f"{self.attention}.dense": block["attention.out.weight"],
            "mlp.dense_h_to_4h": block["mlp.up.weight"],
            "mlp.dense_4h_to_h": block["mlp.down.weight"],
        }


class GPTNeoX(Fused):
    name = "GPTNeoXForCausalLM"
    positions = (Rotation, type(None))
    still_pairs = True
    trunk, attention, last_norm = "gpt_neox", "attention", "final_layer_norm"
    embedding = "embed_in"

    def config(self, traits: Traits, length: int) -> dict[str, Any]:
        own = {"use_parallel_residual": False, "attention_bias": False}
        return super().config(traits, length) | own


class Persimmon(Fused):
    name = "PersimmonForCausalLM"
    qk_norm = (True,)
    trunk, attention, last_norm = "model", "self_attn", "final_layernorm"
    embedding = "embed_tokens"

    def config(self, traits: Traits, length: int) -> dict[str, Any]:
        return super().config(traits, length) | {"qk_layernorm": True}

    def _block(self, traits: Traits, block: Weights) -> dict[str, Tensor]:
        order = channel_order(traits)
        norms = {
            f"{self.attention}.q_layernorm": block["attention.q_norm.weight"][order],
            f"{self.attention}.k_layernorm": block["attention.k_norm.weight"][order],
        }
        return super()._block(traits, block) | norms
