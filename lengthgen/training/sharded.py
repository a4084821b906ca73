"""Weights, gradients and optimiser states in parts over the ranks: PyTorch's FSDP2 (fully_shard).

Zhao et al. 2023, PyTorch FSDP, arXiv 2304.11277. A block's weights are whole while it computes;
those outside the blocks, from a step's forward pass to the end of its backward pass. Checkpoints
are as one process writes them.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from lengthgen.training.loop import TrainState
from lengthgen.training.parallel import Parallel, TotalLoss, TotalLossOf
from lengthgen.training.ranks import Ranks


class Sharded(Parallel):
    """FSDP2: every rank has a part of each weight. The model is changed in place."""

    def __init__(
        self,
        ranks: Ranks,
        model: nn.Module,
        of_model: TotalLossOf,
        blocks: Iterable[nn.Module],
        device_type: str,
    ):
        super().__init__(ranks)
        mesh = init_device_mesh(device_type, (ranks.size,))
        for block in blocks:
            fully_shard(block, mesh=mesh)
        self._module: Any = fully_shard(TotalLoss(model, of_model), mesh=mesh)

    def total_loss(self, of_model: TotalLossOf) -> TotalLossOf:
        return self._module

    @contextlib.contextmanager
    def unsummed(self) -> Iterator[None]:
        self._module.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            self._module.set_requires_gradient_sync(True)

    def norms(self, gradients: Sequence[Tensor]) -> Tensor:
        parts = [cast(DTensor, each).to_local() for each in gradients]
        squares = super().norms(parts).square()
        dist.all_reduce(squares)
        return squares.sqrt()

    @contextlib.contextmanager
    def gathered(self) -> Iterator[None]:
        self._module.unshard()
        try:
            yield
        finally:
            self._module.reshard()


class ShardedState(TrainState):
    """Its dictionaries are those of one process, on the CPU. All ranks call these together."""

    def state_dict(self) -> dict:
        return _whole(super().state_dict())

    def load_state_dict(self, state: dict) -> None:
        named = dict(self.model.named_parameters())
        ordered = [p for group in self.optimizer.param_groups for p in group["params"]]
        weights = {
            name: _part(value, named[name]) if name in named else value
            for name, value in state["model"].items()
        }
        moments = {
            number: {key: _part(value, ordered[number]) for key, value in of_one.items()}
            for number, of_one in state["optimizer"]["state"].items()
        }
        optimizer = state["optimizer"] | {"state": moments}
        super().load_state_dict(state | {"model": weights, "optimizer": optimizer})


def _whole(value: Any) -> Any:
    if isinstance(value, DTensor):
        return value.full_tensor().detach().cpu()
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, Mapping):
        return {key: _whole(each) for key, each in value.items()}
    return [_whole(each) for each in value] if isinstance(value, list) else value


def _part(value: Any, like: Tensor) -> Any:
    """Of a whole tensor, what this rank has of `like`; a number of steps stays as it is."""
    if not isinstance(like, DTensor) or not isinstance(value, Tensor) or value.ndim == 0:
        return value
    value = value.to(like.device)
    # Every rank has read the whole: nothing is sent.
    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)
