"""One GPU for each process of a sweep on this machine: CUDA_VISIBLE_DEVICES, before torch is there.

More processes than GPUs share them evenly. A scheduler that gives each job its own, as SLURM and
Ray do, is left alone.
"""

import contextlib
import fcntl
import itertools
import os
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
OURS = "LENGTHGEN_DEVICE"  # the one that this process has taken; its later jobs keep it
DRIVER = Path("/proc/driver/nvidia/gpus")  # a folder for each


def visible() -> tuple[str, ...]:
    """The GPUs that a process may use, as CUDA_VISIBLE_DEVICES names them. Imports no torch."""
    given = os.environ.get(VISIBLE)
    if given is not None:
        return tuple(name.strip() for name in given.split(",") if name.strip())
    if not DRIVER.is_dir():
        return ()
    return tuple(str(number) for number in range(len(list(DRIVER.iterdir()))))


def take(folder: Path, devices: tuple[str, ...]) -> None:
    """See one of several devices alone, one that the fewest of the sweep's processes have.

    It is held by a lock on a file of `folder`, until this process ends, however it does.
    """
    if len(devices) < 2 or OURS in os.environ:
        return
    for round_ in itertools.count():
        for device in devices:
            if _lock(folder / f".gpu-{device}-{round_}"):
                os.environ[VISIBLE] = os.environ[OURS] = device
                return


def _lock(path: Path) -> bool:
    """Whether the file is this process's now."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True  # left open: the lock goes with the process
    os.close(descriptor)
    return False
