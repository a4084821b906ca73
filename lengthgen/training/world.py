"""Which of several processes this one is, from the environment that torchrun gives each of them.

Without it there is one. Imports no torch: a command says what is wrong before that.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from lengthgen.errors import ConfigError, UserError

SIZE = "WORLD_SIZE"
NAMES = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # needed where there are several


@dataclass(frozen=True)
class World:
    """rank: from 0, over all machines. local_rank: on this machine. size: of all ranks."""

    rank: int = 0
    local_rank: int = 0
    size: int = 1


def world(environment: Mapping[str, str] = os.environ) -> World:
    """The ranks of torchrun; one process without it. ConfigError for half an environment."""
    size = environment.get(SIZE, "1")
    if size in ("", "1"):
        return World()
    missing = [name for name in NAMES if not environment.get(name)]
    if missing:
        raise ConfigError(
            f"{SIZE}={size} without {', '.join(missing)}: start the ranks with torchrun, or "
            f"unset {SIZE}"
        )
    numbers = [environment["RANK"], environment["LOCAL_RANK"], size]
    if not all(number.isdigit() for number in numbers) or int(numbers[0]) >= int(size):
        raise ConfigError(
            f"RANK={numbers[0]}, LOCAL_RANK={numbers[1]}, {SIZE}={size}: expected numbers, and a "
            "rank below the size, as torchrun gives them"
        )
    return World(*map(int, numbers))


def refuse_several(what: str) -> None:
    """ConfigError where several ranks are to do what one process does."""
    if (size := world().size) > 1:
        raise ConfigError(
            f"{what} under torchrun ({size} ranks): only one `train` is; run it alone"
        )


def prints(error: UserError) -> bool:
    """Whether this rank is the one whose line on the error is shown."""
    if error.told is not None:
        return not error.told
    try:
        # Before the ranks have met: all read the same words, and one of a machine speaks for them.
        return world().local_rank == 0
    except ConfigError:
        return True
