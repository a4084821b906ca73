"""NoPE: no positional encoding. Order reaches the model through the causal mask alone.

Source: Haviv et al., "Transformer language models without positional encodings still learn
positional information" (EMNLP Findings 2022); Kazemnejad et al. (NeurIPS 2023) name it NoPE and
study its length generalisation.
Formula: score(i, j) = q_i . k_j / sqrt(D) for j <= i. The baseline of every other scheme.
"""

from dataclasses import dataclass

from lengthgen.schemes.base import Declaration, Scheme


@dataclass
class Config:
    """NoPE has no options."""


class NoPE(Scheme):
    """Every hook is the base class's no-op."""

    Config = Config

    @property
    def declaration(self) -> Declaration:
        return Declaration(
            paper="Haviv et al., EMNLP Findings 2022; Kazemnejad et al., NeurIPS 2023",
            year=2022,
            acts_on="nothing",
            sharing="no parameters",
            prefix_consistent=True,
            shift_invariant=True,
            trained_reach=f"softmax over at most {self.dimensions.train_length} keys",
            tail="defined at any length; attention spreads over more keys than in training",
            oracles=("float64 loop",),
        )
