"""Errors that a user can mend: each is one line (given, expected, what to do) and an exit code; and
how a shortage of memory, which less at a time may mend, is told from other errors.

| exit code | meaning |
|---|---|
| 0 | done, or nothing to do |
| 1 | a job of a sweep failed, or a fault of lengthgen itself |
| 2 | bad configuration or command line |
| 3 | bad or unreachable data |
| 4 | no valid checkpoint |
| 5 | losses, gradients or weights became non-finite |
| 6 | another process is working on the same run |
| 7 | the disk is full or not writable |
| 8 | the model does not fit in memory, one window at a time |
| 9 | the time of --budget is spent; the same command goes on |
| 10 | of several ranks that train together, another one is gone |
| 128 + n | stopped by signal n; the same command resumes: 130 SIGINT, 143 SIGTERM, 129 SIGHUP,
138 SIGUSR1, 140 SIGUSR2 (runs/stopping.py); 141 the reader of a pipe has gone |
"""


class UserError(Exception):
    """A fault with one clear line for the user; `exit_code` is what the command returns."""

    exit_code = 1
    told: bool | None = None  # of several ranks: whether another one has printed why all end


class ConfigError(UserError):
    exit_code = 2


class DataError(UserError):
    exit_code = 3


class CheckpointError(UserError):
    exit_code = 4


class NonFiniteError(UserError):
    exit_code = 5


class LockedError(UserError):
    exit_code = 6


class DiskError(UserError):
    exit_code = 7


class TooLargeError(UserError):
    exit_code = 8


class LostRankError(UserError):
    exit_code = 10


class Interrupted(UserError):
    """A signal stopped the run; what it had to save is saved. `exit_code` is 128 + its number."""

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.exit_code = 128 + signal_number

    def __reduce__(self) -> tuple[type, tuple[str, int]]:
        return type(self), (str(self), self.exit_code - 128)


class BudgetSpent(Interrupted):
    """The time of --budget is over; what the run had to save is saved."""

    def __init__(self, message: str):
        super().__init__(message, 0)
        self.exit_code = 9

    def __reduce__(self) -> tuple[type, tuple[str]]:  # type: ignore[override]
        return type(self), (str(self),)


# What the libraries below say when memory is short: an exception of a kind of its own, or a
# RuntimeError whose words alone tell it from others. OutOfResources: Triton's, for shared memory.
MEMORY_KINDS = {"OutOfMemoryError", "MemoryError", "OutOfResources"}
MEMORY_WORDS = (
    "out of memory",  # CUDA, the driver and cudaMalloc
    "allocate memory",  # torch's CPU allocator
    "STATUS_ALLOC_FAILED",  # cuBLAS, cuDNN, cuSPARSE
    "ALLOCATION_FAILED",  # cuDNN 9: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED
    "NOT_ENOUGH_WORKSPACE",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether less at a time could help, in every spelling that torch's libraries have."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return bool(kinds & MEMORY_KINDS) or any(words in str(error) for words in MEMORY_WORDS)
