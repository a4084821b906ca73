"""Errors that a user can mend: each is one line (given, expected, what to do) and an exit code.

| exit code | meaning |
|---|---|
| 0 | done, or nothing to do |
| 1 | a job of a sweep failed, or a fault of lengthgen itself |
| 2 | bad configuration or command line |
| 3 | bad or unreachable data |
| 4 | no valid checkpoint |
| 5 | the loss became non-finite |
| 6 | another process is working on the same run |
| 7 | the disk is full or not writable |
| 130, 143 | interrupted (SIGINT), terminated (SIGTERM); the same command resumes |
"""


class UserError(Exception):
    """A fault with one clear line for the user; `exit_code` is what the command returns."""

    exit_code = 1


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


class Interrupted(UserError):
    """A signal stopped the run, its checkpoint saved. `exit_code` is 128 + the signal's number."""

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.exit_code = 128 + signal_number
