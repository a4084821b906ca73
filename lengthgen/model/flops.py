"""Model FLOPs by formula: what the matrix products of a Transformer take, however it is computed.

A multiplication and an addition are two. The half of causal attention that is masked is not
counted, nor what a scheme adds, nor what is computed again:
forward(T) = layers (8 width^2 T + 2 n hidden width T + 2 width T^2) + 2 width vocab scored,
n the matrices of the MLP: 2, or 3 with a gate (SwiGLU). With an MLP of four times the width the
first two terms are 24 width^2 T. A training step is three forwards.
Source: Chowdhery et al., PaLM, JMLR 2023, appendix B, which counts the masked half as well.

Shape letters: T tokens in a window.
"""

from lengthgen.model.settings import ModelConfig

CAUSAL = 0.5  # the share of the (query, key) pairs that are not masked, as T grows
FORWARDS = 3  # of a training step: the backward pass takes twice the forward's


def forward(
    config: ModelConfig, vocab: int, length: int, scored: int, attention: float = CAUSAL
) -> float:
    """FLOPs of a window of `length` tokens, the output head on `scored` of them.

    attention: the share of (query, key) pairs that is counted.
    """
    matrices = 3 if config.activation == "swiglu" else 2
    per_token = 8 * config.width**2 + 2 * matrices * config.hidden * config.width
    scores = 4 * attention * config.width * length**2
    return float(
        config.n_layers * (per_token * length + scores) + 2 * config.width * vocab * scored
    )


def train_token(config: ModelConfig, vocab: int, length: int) -> float:
    """FLOPs of training on one token of windows of `length` tokens, all of them scored."""
    return FORWARDS * forward(config, vocab, length, length) / length
