"""Process settings that decide CPU speed, made before torch is imported or as its first call.

Spinning OpenMP workers slow a busy machine of two cores 4 to 9 times. Denormal numbers, which
strongly negative biases (ALiBi) produce in exp(), slow a training step by a quarter to a half.
Keeping freed memory, which would be faulted in again at the next step, saves 6 to 15 % of it.
A user's own settings are left alone. POSIX only, as the whole package.
"""

import ctypes
import os

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # glibc's malloc.h
MEBIBYTE = 2**20


def prepare_environment() -> None:
    """Environment variables that libraries read once, at import. Call before torch is imported."""
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        if _machine_is_busy():
            os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        else:
            os.environ["GOMP_SPINCOUNT"] = "10000"
    # Makes cuBLAS deterministic; it reads this at its first call.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Lengths of evaluation differ: without it each leaves holes that the next one does not fit.
    if "PYTORCH_CUDA_ALLOC_CONF" not in os.environ:
        os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if os.environ.get("WORLD_SIZE", "1") not in ("", "1"):
        # Of torch's C++: each rank would say that DDP found no unused parameter.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


def prepare_torch(threads: int | None) -> None:
    """Flush denormals, then set the number of threads (None: torch's own choice)."""
    import torch

    # First: it reaches only the worker threads that are made after it.
    torch.set_flush_denormal(True)
    if threads is not None:
        torch.set_num_threads(threads)


def only_deterministic(wanted: bool) -> None:
    """Let torch refuse operations without an ordered form, or not, from here on."""
    import torch

    if torch.are_deterministic_algorithms_enabled() != wanted:
        torch.use_deterministic_algorithms(wanted)  # imports torch.compile: more than a second
    # Else every empty tensor is filled, at the price of writing it once more.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def keep_memory() -> bool:
    """Let malloc keep what is freed for the tensors of the next step. Returns whether it now does.

    False where the user has set malloc up, or it is not glibc's.
    """
    set_up = any(
        name.startswith("MALLOC_") or name in ("GLIBC_TUNABLES", "LD_PRELOAD")
        for name in os.environ
    )
    if set_up or os.name != "posix":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1, M_TOP_PAD: 64 * MEBIBYTE}
    return all(mallopt(parameter, value) == 1 for parameter, value in settings.items())


def _machine_is_busy() -> bool:
    cores = os.cpu_count() or 1
    return os.getloadavg()[0] > cores - 1
