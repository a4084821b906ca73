"""Where a number came from: command, commit, versions, device, threads, data. Never a path of the machine."""

import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import torch

from lengthgen import __version__

PACKAGES = (
    "torch",
    "numpy",
    "hydra-core",
    "omegaconf",
    "datasets",
    "tokenizers",
    "wandb",
    "matplotlib",
)


def describe(device: torch.device) -> dict:
    """Facts about the process that makes a run."""
    return {
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "lengthgen": __version__,
        "commit": commit(),
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := version_of(name))}
        | {"torch": torch.__version__},  # with its build
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"cpu ({platform.machine()}, {os.cpu_count()} cores)",
        "threads": torch.get_num_threads(),
        "environment": {
            k: os.environ[k]
            for k in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS")
            if k in os.environ
        },
        "load": round(os.getloadavg()[0], 2),
    }


def commit() -> str:
    """The checkout's commit, with `-dirty` if files differ from it; `unknown` outside a checkout (an installed wheel)."""
    root = Path(__file__).resolve().parents[2]

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", root, *arguments], capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root:
            return "unknown"
        return git("rev-parse", "HEAD") + (
            "-dirty" if git("status", "--porcelain", "--", "lengthgen", "configs") else ""
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def version_of(name: str) -> str | None:
    """The installed version of a distribution; None if there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
