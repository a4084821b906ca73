"""Which positional scheme of lengthgen a model's configuration means, and how long it was trained.

Read from the fields that the library transformers gives every model. Rotary models: the base, how
many channels turn, and the scaling that a model was released with, which is one of lengthgen's
retrofits around its rotation. ALiBi: BLOOM, MPT, Falcon. Learned tables: GPT-2, OPT.
"""

from dataclasses import dataclass, field
from typing import Any

from lengthgen.errors import ConfigError

# Where a configuration says how many tokens its model was trained on.
# train_length: of lengthgen's own exports, whose input may be longer
TRAINED = (
    "train_length",
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "n_ctx",
)
BEFORE_SCALING = "original_max_position_embeddings"
ALIBI = ("bloom", "mpt", "falcon")
LEARNED = ("gpt2", "gpt_bigcode", "opt")
Options = dict[str, Any]


@dataclass(frozen=True)
class Positions:
    """A scheme's name and options; released: the retrofit that the model was released with."""

    scheme: str
    options: Options = field(default_factory=dict)
    released: tuple[str, Options] | None = None


def trained_length(config: Any, given: int | None) -> int:
    """Tokens of the windows that a model was trained on. ConfigError where nothing says it."""
    if given is not None:
        return given
    for name in TRAINED:
        value = getattr(config, name, None)
        if isinstance(value, int) and value > 0:
            return value
    raise ConfigError(
        f"the configuration of this {config.model_type} model does not say how many tokens it was "
        "trained on; give train_length=N"
    )


def length_before_scaling(config: Any, train_length: int) -> int:
    """L in the formula of the scaling that a model was released with; else its training length."""
    rope = getattr(config, "rope_parameters", None) or {}
    return rope.get(BEFORE_SCALING) or getattr(config, BEFORE_SCALING, None) or train_length


def positions_of(config: Any, head_dim: int) -> Positions:
    """The scheme that a configuration describes. ConfigError for one that lengthgen has not.

    config: of transformers. head_dim: D, channels of a head.
    """
    kind = config.model_type
    if kind in ALIBI and _has_alibi(config):
        options: Options = {"divided": True} if kind == "falcon" else {}
        attention = getattr(config, "attn_config", None)
        if attention is not None:
            options["max_bias"] = float(attention.alibi_bias_max)
        return Positions("alibi", options)
    if (rope := rope_of(config)) is not None:
        return _rotary(rope, config, head_dim)
    if kind in LEARNED:
        return Positions("learned", {"tail": "refuse"})
    raise _unknown(kind, "its configuration names no positional scheme that lengthgen knows")


def rope_of(config: Any) -> Options | None:
    """The parameters of the rotation, one set for all layers; None for a model without."""
    rope = getattr(config, "rope_parameters", None)
    if not isinstance(rope, dict):
        return None
    if "rope_theta" not in rope:  # by kind of layer
        raise _unknown(config.model_type, "its layers turn at several bases")
    return rope


def _has_alibi(config: Any) -> bool:
    attention = getattr(config, "attn_config", None)
    return getattr(attention or config, "alibi", config.model_type == "bloom")


def _rotary(rope: Options, config: Any, head_dim: int) -> Positions:
    options: Options = {"base": float(rope["rope_theta"]), "layout": "half_split"}
    name, share = "rope", float(rope.get("partial_rotary_factor") or 1.0)
    if share < 1:
        # The released code turns int(share D) channels, whether that is even or not.
        name, options["fraction"] = "rope_partial", int(share * head_dim) / head_dim
    return Positions(name, options, _released(rope, config))


def _released(rope: Options, config: Any) -> tuple[str, Options] | None:
    """The retrofit that a type of transformers' rope scaling is."""
    kind = rope.get("rope_type", "default")
    factor = float(rope.get("factor") or 1.0)
    if kind == "default":
        return None
    if kind == "linear":
        return "position_interpolation", {"factor": factor}
    if kind == "dynamic":
        return "dynamic_ntk", {"alpha": factor}
    if kind == "llama3":
        return "llama3", {
            "factor": factor,
            "low": float(rope["low_freq_factor"]),
            "high": float(rope["high_freq_factor"]),
        }
    if kind == "yarn" and not rope.get("mscale_all_dim") and rope.get("truncate", True):
        return "yarn", {
            "factor": factor,
            "slow": float(rope.get("beta_slow") or 1),
            "fast": float(rope.get("beta_fast") or 32),
            "temperature": rope.get("attention_factor") != 1.0,
        }
    raise _unknown(config.model_type, f"it was released with rope scaling of the type {kind}")


def _unknown(kind: str, why: str) -> ConfigError:
    return ConfigError(
        f"positions=exact has no form for this {kind} model: {why}; give positions=as_released, "
        "which reads it by its own code in transformers"
    )
