"""Processes that train one model together: how they meet, agree, notice a death, and part.

Tensors go over NCCL between GPUs and over gloo between CPUs; what the processes tell each other
besides goes over gloo. Each watches the next one, by a message that comes when that one parts. The
operating system closes the connections of a process that dies, however it dies: its watcher knows
at once, and passes it on. An operation of torch that waits for the dead then raises, or is given
GRACE seconds, as NCCL may wait for much longer.
"""

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from lengthgen.errors import Interrupted, LostRankError, UserError
from lengthgen.terminal import progress
from lengthgen.training.world import World

T = TypeVar("T")
A_STEP = timedelta(minutes=30)  # within which all ranks come to the same operation of a step
ANY_TIME = timedelta(days=365)  # of what waits for a death, or for the data to be prepared
SOON = 3.0  # seconds until a death is known that made an operation of torch fail
GRACE = 15.0  # seconds to end in good order after a death
ENDED = "ended"  # key of the store: the rank that said why all end


class Ranks:
    """One process: agrees with itself. The base of `ProcessGroup`."""

    rank, local_rank, size = 0, 0, 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes, prints and evaluates."""
        return self.rank == 0

    def mean(self, x: Tensor) -> Tensor:
        """The mean over the ranks, on the device, for which the host does not wait."""
        return x

    def most(self, *numbers: int) -> list[int]:
        """The greatest of each number over the ranks."""
        return list(numbers)

    def from_first(self, value: T) -> T:
        """The first rank's value, on every rank."""
        return value

    def in_turn(self, work: Callable[[], T]) -> T:
        """`work` of the first rank, then that of the others, which find what it left behind."""
        if not self.first:
            self.from_first(None)
        done = work()
        if self.first:
            self.from_first(None)
        return done

    def rows(self, size: int) -> slice:
        """Those of a batch of `size` that this rank computes."""
        each = size // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def parts(self, size: int, accumulate: int) -> int:
        """In how many parts a rank computes its rows: none is larger than batch / accumulate."""
        rows, most = size // self.size, size // accumulate
        return next(n for n in range(1, rows + 1) if rows % n == 0 and rows // n <= most)

    def part(self) -> None:
        """Wait until all ranks have come here; each goes its own way then."""


ALONE = Ranks()


class ProcessGroup(Ranks):
    """The ranks of a process group."""

    def __init__(self, world: World):
        self.rank, self.local_rank, self.size = world.rank, world.local_rank, world.size
        # torchrun's own, or one that the first rank holds.
        store, _, _ = next(dist.rendezvous("env://", world.rank, world.size))
        # Groups that meet again would find the keys of the last time.
        times = store.add(f"lengthgen/{self.rank}", 1)
        self._store = dist.PrefixStore(f"lengthgen/{times}", store)
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(
            backend, store=self._store, rank=self.rank, world_size=self.size, timeout=A_STEP
        )
        self._words = dist.new_group(backend="gloo", timeout=ANY_TIME)
        self.watch, self.parted = _Watch(self), False

    def mean(self, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total / self.size

    def most(self, *numbers: int) -> list[int]:
        greatest = torch.tensor(numbers)
        dist.all_reduce(greatest, dist.ReduceOp.MAX, group=self._words)
        return greatest.tolist()

    def from_first(self, value: T) -> T:
        held: list[Any] = [value]
        dist.broadcast_object_list(held, src=0, group=self._words)
        return held[0]

    def part(self) -> None:
        if not self.parted:
            self.watch.end()
            self.parted = True
            dist.destroy_process_group()

    def lost(self, seconds: float) -> LostRankError | None:
        """Whether a rank is gone, or is known to be within so many seconds."""
        if self.parted or not self.watch.lost.wait(seconds):
            return None
        return self.watch.error()

    def is_told(self) -> bool:
        """Whether another rank was before this one in saying why all end."""
        try:
            teller = self._store.compare_set(ENDED, "", str(self.rank))
        except RuntimeError:  # who held the store is gone
            return False
        return teller != str(self.rank).encode()


class _Watch:
    """Waits, in a thread, for the next rank to part or to die."""

    def __init__(self, ranks: ProcessGroup):
        self._ranks = ranks
        self._group = dist.new_group(backend="gloo", timeout=ANY_TIME)
        self._next = (ranks.rank + 1) % ranks.size
        self._before = (ranks.rank - 1) % ranks.size
        self.lost, self.over, self._heard = (threading.Event() for _ in range(3))
        self._who = -1
        threading.Thread(target=self._run, daemon=True).start()

    def error(self) -> LostRankError:
        return LostRankError(
            f"rank {self._who} of {self._ranks.size} is gone, and the others end; "
            "rerun the same command to resume"
        )

    def end(self) -> None:
        """Say that this rank parts, and wait until the next one does. LostRankError."""
        with contextlib.suppress(RuntimeError):
            self._tell(-1)
        self._heard.wait()
        if self.lost.is_set():
            raise self.error()

    def _run(self) -> None:
        message = torch.zeros(1, dtype=torch.int64)
        try:
            dist.recv(message, self._next, group=self._group)
            self._who = int(message)
        except RuntimeError:
            self._who = self._next
        if self._who >= 0:
            self.lost.set()
        self._heard.set()
        if self._who < 0:
            return
        with contextlib.suppress(RuntimeError):
            self._tell(self._who)
        if not self.over.wait(GRACE):
            error = self.error()
            if not self._ranks.is_told():
                os.write(2, f"lengthgen: {error}\n".encode())
            os._exit(error.exit_code)

    def _tell(self, who: int) -> None:
        """who: the rank that is gone; -1: none, this one parts."""
        dist.send(torch.tensor([who]), self._before, group=self._group)


@contextlib.contextmanager
def joined(world: World) -> Iterator[Ranks]:
    """The ranks of this training; the first one alone prints, but for what ends another.

    A UserError is told by the rank that raises it first. LostRankError where a rank is gone.
    """
    if world.size == 1:
        yield ALONE
        return
    ranks = ProcessGroup(world)
    try:
        with contextlib.nullcontext() if ranks.first else _silent():
            yield ranks
            ranks.part()
    except (UserError, RuntimeError) as error:
        lost = None
        if isinstance(error, Interrupted):  # torchrun stops the others when one is gone
            lost = ranks.lost(0)
        elif not isinstance(error, UserError):
            lost = ranks.lost(SOON)
        shown = lost or error
        if isinstance(shown, UserError):
            shown.told = ranks.is_told()
        if lost is None:
            raise
        raise lost from error
    finally:
        ranks.watch.over.set()


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """No messages and no bars of this process."""
    logger, before = logging.getLogger("lengthgen"), os.environ.get(progress.OFF)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    os.environ[progress.OFF] = "1"
    try:
        yield
    finally:
        logger.setLevel(level)
        del os.environ[progress.OFF]
        if before is not None:
            os.environ[progress.OFF] = before
