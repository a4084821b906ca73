"""What is diagnosed: a trained model, its scheme before and after training, and its text.

Shape letters: W windows, T tokens, L training length.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lengthgen.model import Transformer
from lengthgen.schemes.base import Scheme


@dataclass(frozen=True)
class DiagnosedModel:
    """All on one device; the model in evaluation mode, with the random positions of draw 0."""

    model: Transformer  # as it is evaluated: with its retrofit, if it has one
    trained: Scheme  # the scheme as training left it, without the retrofit
    initial: Scheme  # the same before the first step
    # of the evaluation, ascending, with train_length and without those that the scheme refuses
    lengths: tuple[int, ...]
    # length -> (W, length) token ids of held-out documents, one window each; L and the longest
    windows: Mapping[int, Tensor]
    training: Tensor  # (W, L) token ids of training windows
    n_read: int  # windows that the costly diagnostics read, at most W

    @property
    def train_length(self) -> int:
        """L."""
        return self.trained.dimensions.train_length

    @property
    def longest(self) -> int:
        return self.lengths[-1]

    @property
    def device(self) -> torch.device:
        return self.training.device
