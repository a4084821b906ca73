"""Process settings that decide CPU speed. They must be made before torch is imported, or be its first call.

Measured on two cores: spinning OpenMP workers slow a busy machine 4 to 9 times, and denormal numbers, which strongly negative
biases (ALiBi) produce in exp(), slow a whole training step by a quarter to a half. Flush-to-zero reaches the worker threads
only when it is set before they exist. A user's own settings are left alone.
"""

import os


def prepare_environment() -> None:
    """Environment variables that libraries read once, at import. Call before anything imports torch."""
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        if _machine_is_busy():
            os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        else:
            os.environ["GOMP_SPINCOUNT"] = "10000"
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic cuBLAS, read at its first call
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def prepare_torch(threads: int | None) -> None:
    """Flush denormals, then set the number of threads (None: torch's own choice)."""
    import torch

    torch.set_flush_denormal(True)
    if threads is not None:
        torch.set_num_threads(threads)


def _machine_is_busy() -> bool:
    cores = os.cpu_count() or 1
    return os.getloadavg()[0] > cores - 1
