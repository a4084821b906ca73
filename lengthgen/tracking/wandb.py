"""Weights & Biases, in a process of its own (wandb_process.py), fed one JSON line a call.

In this process W&B would replace sys.exit and sys.excepthook, hook every later import, wait for its
service at exit without a limit, perhaps ask for a key on the terminal, and raise in any thread that
touches it once its service is dead (all seen in 0.31.0). When training is killed, the child's input
ends, and it closes the run as failed, with all that was logged.
"""

import contextlib
import json
import os
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import IO, Any

from lengthgen.config.dataclass_from import check, choice, limit
from lengthgen.tracking import curves
from lengthgen.tracking.seam import LOGGER, Artifact, Backend, RunDescription, one_line
from lengthgen.tracking.tensorboard import find_spec

MODES = {mode: mode for mode in ("online", "offline", "disabled")}
MODES |= {"run": "online", "dryrun": "offline"}  # W&B's old words
KEPT = {"none": (), "tables": ("evaluation",), "weights": ("evaluation", "weights")}
LAST_WORDS = 10.0  # seconds to wait for the reason of a child that is ending
FORBIDDEN_IN_PROJECT = "/\\#?%:"  # W&B refuses them


@dataclass
class WandbConfig:
    name: str = "wandb"
    project: str = "lengthgen"  # W&B project
    entity: str | None = None  # user or team; null: the account's own
    mode: str = "offline"  # offline | online | disabled
    group: str | None = None  # null: the run's own group
    tags: list[str] = field(default_factory=list)  # added to the run's own tags
    # files kept as artefacts: none | tables, of evaluations | weights: them too
    artifacts: str = "tables"
    init_timeout: float = 20.0  # seconds until an unreachable online run is recorded offline
    finish_timeout: float = 15.0  # seconds to wait for W&B at the end of a run

    def __post_init__(self) -> None:
        choice("tracking.mode", self.mode, tuple(MODES))
        choice("tracking.artifacts", self.artifacts, tuple(KEPT))
        forbidden = set(FORBIDDEN_IN_PROJECT) & set(self.project)
        valid = not forbidden and 1 <= len(self.project) <= 128
        expected = f"expected 1 to 128 characters without {' '.join(FORBIDDEN_IN_PROJECT)}"
        check(valid, f"tracking.project={self.project!r}: {expected}")
        limit(self, "tracking", "> 0", "init_timeout", "finish_timeout")


class Child(subprocess.Popen[bytes]):
    """The process that runs W&B, with pipes to its input and output."""

    stdin: IO[bytes]
    stdout: IO[bytes]


class Wandb(Backend):
    label = "W&B"
    Config = WandbConfig

    def __init__(self, config: WandbConfig, description: RunDescription):
        super().__init__(config, description)
        self._mode = MODES[config.mode]
        self._process: Child | None = None
        self._replies = b""
        self._abandoned = False
        self.opening_limit = config.init_timeout + 5.0  # online until its limit, then offline
        self.closing_limit = config.finish_timeout
        self.active = self._mode != "disabled"

    def missing(self) -> str | None:
        if not self.active:
            return None
        spec = find_spec("wandb")
        # a folder ./wandb of offline runs looks like a package without an origin
        missing = spec is None or spec.origin is None
        return "wandb is not installed (pip install wandb)" if missing else None

    def open(self) -> None:
        """Start the child. An online run that cannot be opened in time gets an offline one."""
        before = set(self._folders())
        try:
            self._start(self._mode)
        except Exception as error:
            if self._mode != "online" or self._abandoned:
                raise
            LOGGER.warning(
                "W&B cannot be reached, this run is recorded offline (%s); "
                "upload it later with `wandb sync`",
                one_line(str(error)),
            )
            self._end(grace=0.0)
            # of the online attempt: `wandb sync` would upload it as a run
            for empty in set(self._folders()) - before:
                shutil.rmtree(empty, ignore_errors=True)
            self._start("offline")

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        numbers = {k: v if isinstance(v, int | float) else float(v) for k, v in metrics.items()}
        self._send({"log": numbers | {"train/step": int(step)}})

    def summary(self, facts: Mapping[str, Any]) -> None:
        self._send({"summary": dict(facts)})

    def resumed(self, rows: Sequence[Mapping]) -> None:
        for row in rows:
            numbers = {k: v for k, v in row.items() if isinstance(v, int | float) and k != "step"}
            self.log(numbers, row["step"])

    def curves(self, rows: Sequence[Mapping]) -> None:
        rows = curves.plain(rows)
        columns, data = curves.table(rows)
        plots = {metric: curves.lines(rows, metric) for metric in ("loss", "perplexity")}
        message = {
            "columns": columns,
            "data": data,
            "points": curves.points(rows),
            "plots": {metric: lines for metric, lines in plots.items() if lines},
            "scalars": curves.scalars(rows) | curves.words(rows),
        }
        self._send({"curves": message})

    def figures(self, files: Mapping[str, Path]) -> None:
        self._send({"figures": {name: str(file.resolve()) for name, file in files.items()}})

    def artifact(self, artifact: Artifact) -> None:
        if artifact.kind not in KEPT[self.config.artifacts]:
            return
        message = {
            "name": _artifact_name(artifact.name),
            "type": artifact.kind,
            "metadata": dict(artifact.about),
            "files": {name: str(file.resolve()) for name, file in artifact.files.items()},
            "made_from": [_artifact_name(name) for name in artifact.made_from],
        }
        self._send({"artifact": message})

    def close(self, exit_code: int) -> None:
        self._send({"close": exit_code})
        child = self._child()
        child.stdin.close()
        child.wait()  # without a limit: the training thread has one, then kills it
        self._check()
        child.stdout.close()

    def abandon(self, grace: float) -> None:
        self._abandoned = True
        self._end(grace)

    def _child(self) -> Child:
        if self._process is None:
            raise RuntimeError("its process was not started")
        return self._process

    def _end(self, grace: float) -> None:
        if process := self._process:
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
        script = str(Path(__file__).with_name("wandb_process.py"))
        self._process = Child(
            [sys.executable, "-P", script],  # -P: this folder's wandb.py is not W&B
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # a failed write is known at once, and closing writes nothing more
            bufsize=0,
            env=_environment(folder),
            # no terminal to ask on, and Ctrl-C reaches the training process alone
            start_new_session=True,
        )
        # `abandon` may have run in another thread before there was a child to end
        if self._abandoned:
            self._end(grace=0.0)
        init, settings = self._init_arguments(mode, folder), self._settings(limit)
        self._send({"init": init, "settings": settings, "parent": os.getpid()})
        reply = self._reply(until)
        if reply is None:
            raise TimeoutError(f"no answer in {limit:.0f} s")
        where = reply["opened"] or folder
        if mode != "online":
            where = f"wandb sync {_short(where)}"
        LOGGER.info("W&B run %s, %s: %s", self.description.id, mode, where)

    def _init_arguments(self, mode: str, folder: Path) -> dict:
        run = self.description
        tags = dict.fromkeys((*run.tags, *map(str, self.config.tags)))
        return {
            "project": self.config.project,
            "entity": self.config.entity,
            "mode": mode,
            "id": run.id,
            "resume": "allow",
            "name": run.name,
            "group": self.config.group or run.group,
            "job_type": run.job_type,
            "tags": [tag[:64] for tag in tags if tag],  # W&B's limit
            "config": run.config,
            "dir": str(folder),
        }

    def _settings(self, limit: float) -> dict:
        return {
            "silent": True,
            "console": "off",
            # provenance.json has the commit; a remote's URL may hold a password
            "disable_git": True,
            "disable_code": True,
            "save_code": False,
            "symlink": False,
            "x_save_requirements": False,
            "x_stats_pid": os.getpid(),
            "program": "lengthgen",
            # W&B has to give up before this side does
            "init_timeout": max(1.0, limit - 2.0),
            "finish_timeout": max(1.0, self.config.finish_timeout - 3.0),
            "finish_timeout_raises": True,  # an upload that did not end is said
            "x_transaction_log_flush_interval": 5.0,
        }

    def _send(self, message: dict) -> None:
        self._check()
        line = json.dumps(message, default=str).encode() + b"\n"
        try:
            while line:
                line = line[self._child().stdin.write(line) :]  # a signal may cut a write short
        except BrokenPipeError:
            # the child has closed its input: its last message, perhaps under way, says why
            until = monotonic() + LAST_WORDS
            while self._reply(until):
                pass
            raise

    def _check(self) -> None:
        self._reply(until=None)

    def _reply(self, until: float | None) -> dict | None:
        """The child's next message, or None if there is none by then.

        RuntimeError if it reports a failure or has ended badly.
        """
        child = self._child()
        output = child.stdout.fileno()
        while b"\n" not in self._replies:
            wait = max(0.0, until - monotonic()) if until else 0.0
            ready, _, _ = select.select([output], [], [], wait)
            if not ready:
                return None
            received = os.read(output, 65536)
            if not received:
                if code := child.wait(10.0):
                    how = f"signal {-code}" if code < 0 else f"exit code {code}"
                    raise RuntimeError(f"its process ended with {how}")
                return None
            self._replies += received
        line, _, self._replies = self._replies.partition(b"\n")
        reply = json.loads(line)
        if "failed" in reply:
            raise RuntimeError(reply["failed"])
        return reply


def _artifact_name(name: str) -> str:
    """Of the characters that W&B allows, at most 128."""
    return re.sub(r"[^a-zA-Z0-9_.-]", "_", name)[-128:]


def _environment(folder: Path) -> dict[str, str]:
    """The child's: the modules of this process, and every file below the run folder."""
    environment = {
        "WANDB_DATA_DIR": str(folder / "wandb" / "staging"),
        "WANDB_CACHE_DIR": str(folder / "wandb" / "cache"),
        "WANDB_ERROR_REPORTING": "false",  # W&B's own telemetry: only if the user asks for it
        **os.environ,
        "WANDB_SILENT": "true",
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
    }
    environment.pop("WANDB_SERVICE", None)  # the service of another process
    return environment


def _short(path: str | Path) -> str:
    """Relative to the current folder where it is below that."""
    here = Path.cwd()
    return str(Path(path).relative_to(here) if Path(path).is_relative_to(here) else path)
