"""Where a number came from: command, commit, versions, device, threads; no local path."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from lengthgen import __version__
from lengthgen.config.redaction import redact_text

PACKAGES = ("numpy", "hydra-core", "omegaconf", "datasets", "tokenizers", "wandb", "matplotlib")
ENVIRONMENT = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS")


def describe(device: torch.device) -> dict[str, Any]:
    """Facts about the process that makes a run."""
    on_gpu = device.type == "cuda"
    versions = {name: version for name in PACKAGES if (version := version_of(name))}
    return {
        "command": command(),
        # Milliseconds: a study tells by them whether a run is older than its registration.
        "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "lengthgen": __version__,
        "commit": commit(),
        "python": platform.python_version(),
        # torch's own version names its build, +cpu or +cu128.
        "versions": {"torch": torch.__version__} | versions,
        "device": torch.cuda.get_device_name(device)
        if on_gpu
        else f"cpu ({platform.machine()}, {os.cpu_count()} cores)",
        "threads": torch.get_num_threads(),
        "environment": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
        "load": round(os.getloadavg()[0], 2),
    }


def command() -> str:
    """The command without the program's folder and without secrets.

    `notebook` in one, whose command is local paths.
    """
    program = Path(sys.argv[0]).name
    if program == "__main__.py":
        program = Path(sys.argv[0]).parent.name
    if "ipykernel" in program:
        return "notebook"
    return redact_text(" ".join([program, *sys.argv[1:]]))


def commit() -> str:
    """The checkout's commit, `-dirty` if files differ from it.

    In a copy that has no repository what LENGTHGEN_COMMIT says, else `unknown`.
    """
    carried = os.environ.get("LENGTHGEN_COMMIT", "unknown")
    root = Path(__file__).resolve().parents[2]

    def git(*arguments: str) -> str:
        words = ["git", "-C", str(root), *arguments]
        done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root:
            return carried
        changed = git("status", "--porcelain", "--", "lengthgen", "configs")
        return git("rev-parse", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return carried


def version_of(name: str) -> str | None:
    """The installed version of a distribution; None if there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
