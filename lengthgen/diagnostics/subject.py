"""What is diagnosed: a trained model, what its scheme was before and after training, and the text that it reads.

Shape letters: W windows, T tokens, L training length.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from lengthgen.model import Transformer
from lengthgen.schemes.base import Scheme


@dataclass(frozen=True)
class Subject:
    """Everything is on the model's device; the model is in evaluation mode and draws its random positions, if any, as in draw 0."""

    model: Transformer  # as it is evaluated: with its retrofit, if it has one
    trained: Scheme  # the scheme as training left it, without the retrofit
    initial: Scheme  # the same before the first step
    lengths: tuple[
        int, ...
    ]  # of the evaluation, ascending, those that the scheme refuses left out; the training length is among them
    windows: Mapping[
        int, Tensor
    ]  # length -> (W, length) token ids of held-out documents, one a document; for L and the longest length
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
    def device(self):
        return self.training.device
