"""MPT: ALiBi, LayerNorm without biases and an exact GELU.

Source: transformers/models/mpt. Its slopes are the official ones for any number of heads. It fixes
max_bias at 8 and the MLP at 4 times the width, whatever its configuration says, and its bias at
max_seq_len keys, which loading can raise: from_pretrained(FOLDER, max_seq_len=N).
BLOOM approximates the GELU and normalises the embeddings, Falcon rounds ALiBi to bfloat16: neither
computes what lengthgen does.
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
from lengthgen.exporting.traits import Slopes, Traits

RATIO, MAX_BIAS = 4, 8


class MPT(Architecture):
    name = "MptForCausalLM"
    norm, activation = "layernorm", "gelu"
    positions = (Slopes,)
    bound = "max_seq_len"
    raisable = True

    def obstacles(self, traits: Traits) -> list[str]:
        found, slopes = super().obstacles(traits), traits.positions
        if traits.model.hidden != RATIO * traits.model.width:
            found.append(f"model.mlp_ratio={traits.model.mlp_ratio:g}")
        if isinstance(slopes, Slopes) and slopes.max_bias != MAX_BIAS:
            found.append(f"scheme.max_bias={slopes.max_bias:g}")
        return found

    def config(self, traits: Traits, length: int) -> dict[str, Any]:
        model = traits.model
        return identifiers(traits) | {
            "d_model": model.width,
            "n_heads": model.n_heads,
            "n_layers": model.n_layers,
            "expansion_ratio": RATIO,
            "max_seq_len": length,
            "layer_norm_epsilon": EPSILON,
            "no_bias": True,
            "learned_pos_emb": False,
            "attn_config": {"alibi": True, "alibi_bias_max": MAX_BIAS},
        }

    def weights(self, traits: Traits, own: Weights, length: int) -> dict[str, Tensor]:
        weights = {
            "transformer.wte.weight": own["embedding.weight"],
            "transformer.norm_f.weight": own["norm.weight"],
        }
        for number, block in enumerate(layers(traits, own)):
            parts = {
                "norm_1": block["attention_norm.weight"],
                "norm_2": block["mlp_norm.weight"],
                "attn.Wqkv": block["attention.qkv.weight"],
                "attn.out_proj": block["attention.out.weight"],
                "ffn.up_proj": block["mlp.up.weight"],
                "ffn.down_proj": block["mlp.down.weight"],
            }
            for name, weight in parts.items():
                weights[f"transformer.blocks.{number}.{name}.weight"] = weight
        return weights
