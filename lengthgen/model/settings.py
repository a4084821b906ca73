"""The shape of a model: the options of the group `model`. No torch."""

import os
from dataclasses import dataclass

from lengthgen.config import dataclass_from
from lengthgen.errors import TooLargeError

MOST_LAYERS = 1000
BYTES_A_WEIGHT = 4  # float32


@dataclass
class ModelConfig:
    n_layers: int = 4  # Transformer blocks
    n_heads: int = 4  # attention heads
    width: int = 128  # size of the residual stream; a multiple of n_heads
    mlp_ratio: float = (
        4.0  # hidden size of the MLP / width; SwiGLU: 2/3 of it, for equal parameters
    )
    norm: str = "layernorm"  # layernorm | rmsnorm
    activation: str = "gelu"  # gelu | swiglu
    tie_head: bool = True  # output head = token embedding
    qk_norm: bool = False  # normalise queries and keys per head; this changes extrapolation
    dropout: float = 0.0  # on embeddings, attention and MLP outputs, in training only

    def __post_init__(self):
        dataclass_from.limit(self, "model", "> 0", "n_layers", "n_heads", "width", "mlp_ratio")
        dataclass_from.check(
            0 <= self.dropout < 1, f"model.dropout={self.dropout}: expected 0 <= dropout < 1"
        )
        dataclass_from.check(
            self.width % self.n_heads == 0 and (self.width // self.n_heads) % 2 == 0,
            f"model.width={self.width}, model.n_heads={self.n_heads}: "
            "expected width / n_heads to be an even whole number",
        )
        dataclass_from.check(
            self.n_layers <= MOST_LAYERS,
            f"model.n_layers={self.n_layers}: expected at most {MOST_LAYERS}",
        )
        dataclass_from.check(
            self.hidden >= 1,
            f"model.mlp_ratio={self.mlp_ratio}: expected a hidden layer of 1 or more, at "
            f"model.width={self.width}",
        )
        dataclass_from.choice("model.norm", self.norm, ("layernorm", "rmsnorm"))
        dataclass_from.choice("model.activation", self.activation, ("gelu", "swiglu"))

    @property
    def hidden(self) -> int:
        """Size of the MLP's hidden layer."""
        return int(self.mlp_ratio * self.width * (2 / 3 if self.activation == "swiglu" else 1))


def refuse_too_large(config: ModelConfig, vocab_size: int = 0) -> None:
    """TooLargeError for weights that this machine's memory cannot hold, before any is made."""
    per_layer = 4 * config.width**2 + 2 * config.hidden * config.width
    count = config.n_layers * per_layer + vocab_size * config.width
    room = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if BYTES_A_WEIGHT * count > room:
        raise TooLargeError(
            f"model.n_layers={config.n_layers}, model.width={config.width}, "
            f"model.mlp_ratio={config.mlp_ratio:g}: {count:.3g} weights of {BYTES_A_WEIGHT} bytes "
            f"do not fit in this machine's {room / 2**30:.0f} GiB; choose a smaller model"
        )
