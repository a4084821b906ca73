"""Weights & Biases, in a process of its own (wandb_process.py), fed one JSON line a call.

Why not in this process: W&B replaces sys.exit and sys.excepthook, hooks every later import, waits for its service at exit without
a limit, may ask for a key on the terminal, and raises in whatever thread touches it once its service is dead (all seen in 0.31.0).
As a child it can do none of that to training, every run has its own, and if the training process is killed the child sees the end
of its input and closes the run as failed, with all that was logged.
"""

import contextlib
import importlib.util
import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from lengthgen.errors import ConfigError
from lengthgen.tracking import curves
from lengthgen.tracking.seam import LOGGER, Backend, RunDescription, one_line

MODES = {
    "online": "online",
    "offline": "offline",
    "disabled": "disabled",
    "run": "online",
    "dryrun": "offline",
}  # and W&B's old words
LAST_WORDS = 10.0  # seconds to wait for the reason of a child that is ending
FORBIDDEN_IN_PROJECT = "/\\#?%:"  # W&B refuses them


@dataclass(frozen=True)
class WandbConfig:
    name: str = "wandb"
    project: str = "lengthgen"
    entity: str | None = None  # user or team; null: the account's own
    mode: str = "offline"  # offline | online | disabled
    group: str | None = None  # null: the run's own group
    tags: list[str] = field(default_factory=list)  # added to the run's own tags
    init_timeout: float = (
        20.0  # seconds until an online run that reaches no server is recorded offline
    )
    finish_timeout: float = 15.0  # seconds to wait for W&B at the end of a run

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(
                f"tracking.mode={self.mode!r}: expected online, offline or disabled (default: WANDB_MODE)"
            )
        wrong = [letter for letter in FORBIDDEN_IN_PROJECT if letter in str(self.project)]
        if wrong or not 1 <= len(str(self.project)) <= 128:
            raise ConfigError(
                f"tracking.project={self.project!r}: expected 1 to 128 characters without {' '.join(FORBIDDEN_IN_PROJECT)}"
            )
        for name in ("init_timeout", "finish_timeout"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"tracking.{name}={getattr(self, name)}: expected seconds > 0")


class Wandb(Backend):
    label = "W&B"
    Config = WandbConfig

    def __init__(self, config: WandbConfig, description: RunDescription):
        super().__init__(config, description)
        self._mode = MODES[config.mode]
        self._process: subprocess.Popen | None = None
        self._replies = b""
        self._abandoned = False
        self.opening_limit = config.init_timeout + 5.0  # online until its limit, then offline
        self.closing_limit = config.finish_timeout
        self.active = self._mode != "disabled"

    def missing(self) -> str | None:
        if not self.active:
            return None
        spec = (
            importlib.util.find_spec("wandb")
            if sys.modules.get("wandb", self) is not None
            else None
        )
        # A folder ./wandb of offline runs looks like a package without an origin.
        return (
            "wandb is not installed (pip install wandb)"
            if spec is None or spec.origin is None
            else None
        )

    def open(self) -> None:
        """Start the child. An online run that cannot be opened in time gets a fresh child, offline."""
        before = set(self._folders())
        try:
            self._start(self._mode)
        except Exception as error:
            if self._mode != "online" or self._abandoned:
                raise
            reason = one_line(str(error))
            LOGGER.warning(
                "W&B cannot be reached, this run is recorded offline (%s); upload it later with `wandb sync`",
                reason,
            )
            self._end(grace=0.0)
            for empty in (
                set(self._folders()) - before
            ):  # of the online attempt: `wandb sync` would upload it as a run
                shutil.rmtree(empty, ignore_errors=True)
            self._start("offline")

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        numbers = {
            name: value if isinstance(value, int | float) else float(value)
            for name, value in metrics.items()
        }
        self._send({"log": numbers | {"train/step": int(step)}})

    def curves(self, rows: Sequence[Mapping]) -> None:
        rows = curves.plain(rows)
        columns, data = curves.table(rows)
        plots = {metric: curves.lines(rows, metric) for metric in ("loss", "perplexity")}
        self._send(
            {
                "curves": {
                    "columns": columns,
                    "data": data,
                    "points": curves.points(rows),
                    "plots": {metric: lines for metric, lines in plots.items() if lines},
                    "scalars": curves.scalars(rows),
                }
            }
        )

    def close(self, exit_code: int) -> None:
        self._send({"close": exit_code})
        self._process.stdin.close()
        self._process.wait()  # without a limit: the training thread has one, and kills the child
        self._check()
        self._process.stdout.close()

    def abandon(self, grace: float) -> None:
        self._abandoned = True
        self._end(grace)

    def _end(self, grace: float) -> None:
        process = self._process
        if process is None:
            return
        if grace:
            process.stdin.close()  # the child saves what it has
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(grace)
        process.kill()
        process.wait()

    def _folders(self) -> Iterator[Path]:
        return self.description.folder.glob("wandb/run-*")

    def _start(self, mode: str) -> None:
        folder = self.description.folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        limit = self.config.init_timeout
        until = monotonic() + limit
        self._replies = b""
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                str(Path(__file__).with_name("wandb_process.py")),
            ],  # -P: this folder's wandb.py is not W&B
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,  # what cannot be written is known at once, and closing writes nothing: it cannot meet a broken pipe
            env=_environment(folder),
            start_new_session=True,  # no terminal to ask on; Ctrl-C reaches the training process alone
        )
        if self._abandoned:
            self._end(grace=0.0)
        self._send(
            {
                "init": self._init_arguments(mode, folder),
                "settings": self._settings(limit),
                "parent": os.getpid(),
            }
        )
        reply = self._reply(until)
        if reply is None:
            raise TimeoutError(f"no answer in {limit:.0f} s")
        where = reply["opened"] or folder
        LOGGER.info(
            "W&B run %s, %s: %s",
            self.description.id,
            mode,
            where if mode == "online" else f"wandb sync {_short(where)}",
        )

    def _init_arguments(self, mode: str, folder: Path) -> dict:
        run = self.description
        tags = [
            tag[:64] for tag in dict.fromkeys((*run.tags, *map(str, self.config.tags))) if tag
        ]  # W&B's limit
        return {
            "project": self.config.project,
            "entity": self.config.entity,
            "mode": mode,
            "id": run.id,
            "resume": "allow",
            "name": run.name,
            "group": self.config.group or run.group,
            "job_type": run.job_type,
            "tags": tags,
            "config": run.config,
            "dir": str(folder),
        }

    def _settings(self, limit: float) -> dict:
        return {
            "silent": True,
            "console": "off",
            "disable_git": True,  # provenance.json has the commit; a remote's URL may hold a password
            "disable_code": True,
            "save_code": False,
            "symlink": False,
            "x_save_requirements": False,
            "x_stats_pid": os.getpid(),
            "program": "lengthgen",
            "init_timeout": max(1.0, limit - 2.0),
            "finish_timeout": max(1.0, self.config.finish_timeout - 3.0),
            "x_transaction_log_flush_interval": 5.0,
        }

    def _send(self, message: dict) -> None:
        self._check()
        line = json.dumps(message, default=str).encode() + b"\n"
        try:
            while line:
                line = line[self._process.stdin.write(line) :]  # a signal may cut a write short
        except BrokenPipeError:  # the child has closed its input: its last message, which may still be under way, says why
            until = monotonic() + LAST_WORDS
            while self._reply(until):
                pass
            raise

    def _check(self) -> None:
        self._reply(until=None)

    def _reply(self, until: float | None) -> dict | None:
        """The child's next message, or None if there is none by then. RuntimeError if it reports a failure or has ended badly."""
        output = self._process.stdout.fileno()
        while b"\n" not in self._replies:
            ready, _, _ = select.select(
                [output], [], [], max(0.0, until - monotonic()) if until else 0.0
            )
            if not ready:
                return None
            received = os.read(output, 65536)
            if not received:
                if code := self._process.wait(10.0):
                    raise RuntimeError(
                        f"its process ended with {f'signal {-code}' if code < 0 else f'exit code {code}'}"
                    )
                return None
            self._replies += received
        line, _, self._replies = self._replies.partition(b"\n")
        reply = json.loads(line)
        if "failed" in reply:
            raise RuntimeError(reply["failed"])
        return reply


def _environment(folder: Path) -> dict[str, str]:
    """The child's environment: the same modules as here, no service of another process, every file below the run folder."""
    environment = {
        "WANDB_DATA_DIR": str(folder / "wandb" / "staging"),
        "WANDB_CACHE_DIR": str(folder / "wandb" / "cache"),
        "WANDB_ERROR_REPORTING": "false",  # W&B's own telemetry: only if the user asks for it
        **os.environ,
        "WANDB_SILENT": "true",
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
    }
    environment.pop("WANDB_SERVICE", None)
    return environment


def _short(path: str | Path) -> str:
    """Relative to the current folder where that is below it."""
    path, here = Path(path), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
