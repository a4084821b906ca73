"""How the gradients of a batch come together: in one process, or over ranks.

Each rank computes its rows of the same global batch. Gradients are means over the ranks of the
ranks' sums, divided by the mean number of targets that a rank scores: what one process computes,
up to rounding.

- Replicated: Li et al. 2020, PyTorch Distributed, arXiv 2006.15704. Every rank has all weights.
- Sharded (sharded.py): every rank has a part of each weight.
"""

import contextlib
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from lengthgen.training.ranks import ALONE, Ranks

TotalLossOf = Callable[[Tensor, Tensor], Tensor]


class Parallel:
    """One process. The base of the others."""

    def __init__(self, ranks: Ranks = ALONE):
        self.ranks = ranks

    def total_loss(self, of_model: TotalLossOf) -> TotalLossOf:
        """What the loop calls for the model's sum of losses."""
        return of_model

    def unsummed(self) -> contextlib.AbstractContextManager:
        """In it, gradients of a part of the batch stay on their rank, until a later part's."""
        return contextlib.nullcontext()

    def norms(self, gradients: Sequence[Tensor]) -> Tensor:
        """(n,) Of each gradient, as a whole."""
        return torch.stack(torch._foreach_norm(list(gradients)))

    def gathered(self) -> contextlib.AbstractContextManager:
        """In it, the model can be called as that of one process."""
        return contextlib.nullcontext()


IN_ONE_PROCESS = Parallel()


class TotalLoss(nn.Module):
    """A model's sum of losses as a module's call, which is what DDP and FSDP attach to."""

    def __init__(self, model: nn.Module, of_model: TotalLossOf):
        super().__init__()
        self.model, self.of_model = model, of_model

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        return self.of_model(inputs, targets)


class Replicated(Parallel):
    """DDP: every rank has all weights."""

    def __init__(self, ranks: Ranks, model: nn.Module, of_model: TotalLossOf):
        super().__init__(ranks)
        with warnings.catch_warnings():  # the name that follows broadcast_buffers is a new one
            warnings.simplefilter("ignore", FutureWarning)
            # Some schemes leave a parameter unused: as in one process it then has no gradient.
            self._module = nn.parallel.DistributedDataParallel(
                TotalLoss(model, of_model), broadcast_buffers=False, find_unused_parameters=True
            )

    def total_loss(self, of_model: TotalLossOf) -> TotalLossOf:
        return self._module

    def unsummed(self) -> contextlib.AbstractContextManager:
        return self._module.no_sync()
