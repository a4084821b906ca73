"""The W&B side of tracking: a script that wandb.py starts, the only file that imports W&B.

It needs nothing of lengthgen. Input, a JSON object a line: first {"init", "settings", "parent"},
then {what: content} each, what one of HANDLERS, at last {"close": exit code}. Where input ends
without "close", the training process is gone: the run is closed as failed. Output, a JSON object a
line: {"opened": folder or address} once, {"failed": reason} at most once.
"""

import contextlib
import fcntl
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

STEP, NONE = "train/step", -1


def main() -> int:
    requests, replies = take_pipes()

    def reply(**message: Any) -> None:
        # nobody may be listening any more: the run is closed all the same
        with contextlib.suppress(OSError):
            replies.write(json.dumps(message) + "\n")
            replies.flush()

    os.nice(5)
    # a scheduler signals the whole job; this process ends when training does
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    run = None
    try:
        import wandb

        request = json.loads(next(requests))
        lock = only_process(request)  # noqa: F841  held until this process ends
        run = open_run(wandb, request)
        reply(opened=run.url or os.path.dirname(os.path.abspath(run.dir)))
        steps = Steps(run, request["init"])
        exit_code = serve(wandb, run, requests, steps)
        run.finish(exit_code=exit_code)
        steps.keep()
        return 0
    except BaseException as error:  # W&B also calls sys.exit
        reply(failed=f"{type(error).__name__}: {error}")
        save(run)
        return 1


def take_pipes() -> tuple[Iterator[str], TextIO]:
    """The pipes; W&B and its service get /dev/null as input and output."""
    requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    return requests, replies


def only_process(request: dict) -> int:
    """A locked file beside W&B's of this run. TimeoutError for an online run.

    The process of a killed training may still be uploading, and would then write its rows where
    the server tells this one to write.
    """
    folder = os.path.join(request["init"]["dir"], "wandb")
    os.makedirs(folder, exist_ok=True)
    # never through a link that somebody has put there
    lock = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
    until = time.monotonic() + request["settings"].get("init_timeout", 20.0) / 2
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() < until:
                time.sleep(0.05)
            elif request["init"]["mode"] == "online":
                raise TimeoutError("the upload of a killed training has not ended") from None
            else:
                return lock
        except OSError:  # a file system without locks
            return lock


class Steps:
    """Which steps a resumed run has: by the server or, offline, by what its last process wrote.

    Training redoes the steps since its checkpoint: those that are there are not logged again.
    """

    def __init__(self, run: Any, init: dict):
        self.path = os.path.join(init["dir"], "wandb", "steps.json")
        self.id = init["id"]
        self.of_runs: dict[str, int] = {}
        with contextlib.suppress(OSError, ValueError), open(self.path) as kept:
            self.of_runs = json.load(kept)
        known = run.summary.get(STEP, NONE) if run.url else self.of_runs.get(self.id, NONE)
        self.there = self.newest = known

    def takes(self, row: dict) -> bool:
        """Whether a row is of a new step; it is then logged."""
        step = row.get(STEP, self.there + 1)
        self.newest = step if step > self.there else self.newest
        return step > self.there

    def keep(self) -> None:
        """Once the run is closed. Whole or not at all."""
        with contextlib.suppress(OSError):  # a full disk: some steps may be logged again
            descriptor, new = tempfile.mkstemp(dir=os.path.dirname(self.path))
            with os.fdopen(descriptor, "w") as file:
                json.dump(self.of_runs | {self.id: self.newest}, file)
            os.replace(new, self.path)


def open_run(wandb: Any, request: dict) -> Any:
    """wandb.init; a setting that this version of W&B does not know is left out."""
    known = getattr(wandb.Settings, "model_fields", request["settings"])
    settings = {name: value for name, value in request["settings"].items() if name in known}
    if "stop_fn" in known:
        settings["stop_fn"] = stopper(request["parent"])
    run = wandb.init(**request["init"], settings=wandb.Settings(**settings))
    run.define_metric(STEP, hidden=True)
    for glob in ("train/*", "validation/*", "lengths/*"):
        run.define_metric(glob, step_metric=STEP)
    return run


def stopper(parent: int) -> Callable[[], None]:
    """W&B's stop button acts as Ctrl-C in training, which saves a checkpoint and ends."""

    def stop() -> None:
        if os.getppid() == parent:
            os.kill(parent, signal.SIGINT)

    return stop


def serve(wandb: Any, run: Any, requests: Iterator[str], steps: Steps) -> int:
    """Handle requests until the last one; the exit code to finish with."""
    for line in requests:
        request = json.loads(line)
        if "close" in request:
            return request["close"]
        [(what, content)] = request.items()
        if what != "log" or steps.takes(content):
            HANDLERS[what](wandb, run, content)
    return 1


def log(wandb: Any, run: Any, metrics: dict) -> None:
    run.log(metrics)


def summarise(wandb: Any, run: Any, facts: dict) -> None:
    run.summary.update(facts)


def log_curves(wandb: Any, run: Any, curves: dict) -> None:
    """Points against eval/length, for W&B to overlay runs; a table, plots and summary scalars."""
    run.define_metric("eval/length", summary="none", hidden=True)
    for name in sorted({name for point in curves["points"] for name in point} - {"eval/length"}):
        run.define_metric(name, step_metric="eval/length", summary="none")
    for point in curves["points"]:
        run.log(point)
    # before what needs answers of the server
    run.summary.update(curves["scalars"])
    columns, data = curves["columns"], curves["data"]
    run.log({"eval/lengths": wandb.Table(columns=columns, data=data, allow_mixed_types=True)})
    for metric, lines in curves["plots"].items():
        lengths, values = zip(*lines.values(), strict=True)
        title, x = f"{metric} by evaluation length", "eval_length"
        plot = wandb.plot.line_series(xs=lengths, ys=values, keys=list(lines), title=title, xname=x)
        run.log({f"eval/{metric}_by_length": plot})


def log_figures(wandb: Any, run: Any, files: dict) -> None:
    run.log({f"figures/{name}": wandb.Image(path) for name, path in files.items()})


def log_artifact(wandb: Any, run: Any, about: dict) -> None:
    """An artefact and what it was made from, which W&B can look up online alone."""
    if not run.offline:
        for name in about["made_from"]:
            with contextlib.suppress(Exception):  # it was not kept
                run.use_artifact(f"{name}:latest")
    artifact = wandb.Artifact(about["name"], type=about["type"], metadata=about["metadata"])
    for name, path in about["files"].items():
        # Not a copy: the files stay in the run's folder.
        artifact.add_file(path, name=name, policy="immutable", skip_cache=True)
    run.log_artifact(artifact)


HANDLERS: dict[str, Callable[[Any, Any, dict], None]] = {
    "log": log,
    "summary": summarise,
    "curves": log_curves,
    "figures": log_figures,
    "artifact": log_artifact,
}


def save(run: Any) -> None:
    """Close the run as failed if that can still be done; the process ends anyhow."""
    with contextlib.suppress(BaseException):
        run.finish(exit_code=1)


if __name__ == "__main__":
    code = main()
    if code:
        os._exit(code)  # a dead service must not hold us up in W&B's exit handlers
    sys.exit(code)
