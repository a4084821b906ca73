"""GPT-2: a table of positions in the input, for learned ones and sinusoids.

Source: transformers/models/gpt2. Its linear layers hold their weights transposed (Conv1D), the
projection of queries, keys and values in lengthgen's order. The table ends the input's length.
lengthgen's GELU is exact, GPT-2's own an approximation: the configuration says which.
"""

from typing import Any

from torch import Tensor

from lengthgen.exporting.architectures.base import (
    EPSILON,
    Architecture,
    Weights,
    identifiers,
    layers,
)
from lengthgen.exporting.traits import InputTable, Traits


class GPT2(Architecture):
    name = "GPT2LMHeadModel"
    norm, activation = "layernorm", "gelu"
    positions = (InputTable,)
    bound = "n_positions"

    def config(self, traits: Traits, length: int) -> dict[str, Any]:
        model, scaled = traits.model, _scale(traits) != 1
        return identifiers(traits) | {
            "n_positions": length,
            "n_embd": model.width,
            "n_layer": model.n_layers,
            "n_head": model.n_heads,
            "n_inner": model.hidden,
            "activation_function": "gelu",
            "embd_pdrop": model.dropout,
            "attn_pdrop": model.dropout,
            "resid_pdrop": model.dropout,
            "layer_norm_epsilon": EPSILON,
            "tie_word_embeddings": model.tie_head and not scaled,
        }

    def weights(self, traits: Traits, own: Weights, length: int) -> dict[str, Tensor]:
        weights = {
            "transformer.wte.weight": own["embedding.weight"] * _scale(traits),
            "transformer.wpe.weight": _table(traits).rows(length),
            "transformer.ln_f.weight": own["norm.weight"],
        }
        for number, block in enumerate(layers(traits, own)):
            parts = {
                "ln_1": block["attention_norm.weight"],
                "ln_2": block["mlp_norm.weight"],
                "attn.c_attn": block["attention.qkv.weight"].T,
                "attn.c_proj": block["attention.out.weight"].T,
                "mlp.c_fc": block["mlp.up.weight"].T,
                "mlp.c_proj": block["mlp.down.weight"].T,
            }
            for name, weight in parts.items():
                weights[f"transformer.h.{number}.{name}.weight"] = weight
        return weights

    def head(self, traits: Traits, own: Weights) -> Tensor | None:
        readout = super().head(traits, own)
        # A scaled embedding is no longer the head.
        return own["embedding.weight"] if readout is None and _scale(traits) != 1 else readout


def _table(traits: Traits) -> InputTable:
    assert isinstance(traits.positions, InputTable)
    return traits.positions


def _scale(traits: Traits) -> float:
    """What the token embeddings are multiplied by."""
    return _table(traits).embedding_scale
