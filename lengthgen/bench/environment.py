"""What else could explain a number: commit, versions, threads, load, variables, settings."""

import os
import time
from collections.abc import Mapping
from typing import Any

import torch

from lengthgen.attention.kernels.onednn import processor
from lengthgen.bench.workload import Place
from lengthgen.runs import provenance

PEER_PACKAGES = ("x-transformers", "transformers", "triton")
VARIABLES = (
    "OMP_", "GOMP_", "KMP_", "MKL_", "MALLOC_", "CUBLAS_", "CUDA_", "PYTORCH_", "TORCH_",
    "TORCHINDUCTOR_", "LD_PRELOAD",
)  # fmt: skip


def before(where: Place, clock: str) -> dict[str, Any]:
    """Facts to print and to save; `after` completes them."""
    facts = provenance.describe(where.device)
    facts["versions"] |= {
        name: version for name in PEER_PACKAGES if (version := provenance.version_of(name))
    }
    variables = {
        key: value for key, value in sorted(os.environ.items()) if key.startswith(VARIABLES)
    }
    if "LD_PRELOAD" in variables:  # names alone: paths say nothing about speed
        libraries = variables["LD_PRELOAD"].split(":")
        variables["LD_PRELOAD"] = ":".join(map(os.path.basename, libraries))
    facts |= {
        "environment": variables,
        "cpu": processor("model name") or "unknown",
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "precision": where.precision,
        "clock": clock,
        # Whether denormal numbers become zero in this thread.
        "flush_denormal": bool((torch.tensor([1e-40]) * 1.0).item() == 0.0),
        "load_before": facts.pop("load"),
    }
    if where.device.type == "cuda":
        facts["cuda"] = {
            "torch": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "tf32": torch.backends.cuda.matmul.allow_tf32,
        }
    return facts


def after(facts: dict[str, Any], began: float) -> dict[str, Any]:
    """The facts with the load at the end and the seconds since `began` (time.perf_counter)."""
    return facts | {
        "load_after": round(os.getloadavg()[0], 2),
        "seconds": round(time.perf_counter() - began, 1),
    }


def lines(facts: Mapping[str, Any]) -> list[str]:
    """The facts in words, one a line."""
    words = []
    for key, value in facts.items():
        if isinstance(value, dict):
            value = ", ".join(f"{k}={v}" for k, v in value.items())
        words.append(f"{key}: {value}")
    return words
