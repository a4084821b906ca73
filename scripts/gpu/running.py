"""Steps with time limits: run what is not done, report what fails, go on with the next."""

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

GRACE = 15  # seconds for a stopped command to save its checkpoint
PACKING = 5  # seconds kept for what follows a step
LAST_LINES = 14  # of a log, shown when its step has ended


@dataclass(frozen=True)
class Step:
    """Commands that are done or not done as a whole.

    seconds: the time limit. together: the commands run side by side, else one after another until
    one fails. resumes: a later call continues what the limit cut, so that any time is of use; other
    steps are not begun with less than half of their limit left. beside: begins with the step before
    it, for what is not timed.
    """

    name: str
    seconds: float
    commands: Sequence[Sequence[str]]
    together: bool = False
    resumes: bool = False
    beside: bool = False


def run_all(
    steps: Sequence[Step],
    folder: Path,
    here: Path,
    environment: Mapping[str, str],
    budget: float,
    after_step: Callable[[], None] = lambda: None,
) -> bool:
    """Run the steps in order within `budget` seconds. Returns whether all are done now.

    folder: of the logs and outcomes, STEP.done or STEP.failed. here: where the commands start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + budget
    for group in _groups(steps):
        begun = []
        for step in group:
            left = end - time.monotonic() - GRACE - PACKING
            if is_done(step, folder):
                print(f"{step.name}: already done", flush=True)
            elif left < (GRACE if step.resumes else step.seconds / 2):
                print(
                    f"{step.name}: not tried, {left:.0f} of {step.seconds:.0f} s left", flush=True
                )
            else:
                begun.append((step, min(step.seconds, left)))
        if begun:
            _side_by_side(begun, folder, here, environment)
            after_step()
    missing = [step.name for step in steps if not is_done(step, folder)]
    words = f"still to do: {', '.join(missing)}" if missing else "all"
    print(f"{len(steps) - len(missing)} of {len(steps)} steps done; {words}", flush=True)
    return not missing


def _groups(steps: Sequence[Step]) -> Iterator[list[Step]]:
    group: list[Step] = []
    for step in steps:
        if group and not step.beside:
            yield group
            group = []
        group.append(step)
    yield group


def _side_by_side(
    begun: Sequence[tuple[Step, float]], folder: Path, here: Path, environment: Mapping[str, str]
) -> None:
    """Run each step with its time limit in seconds."""
    stopping = threading.Event()
    with ThreadPoolExecutor(len(begun)) as pool:
        running = [
            pool.submit(_run, step, folder, here, environment, seconds, stopping)
            for step, seconds in begun
        ]
        try:
            for each in running:
                each.result()
        except BaseException:  # Ctrl-C, SIGTERM: the threads end what they started
            stopping.set()
            raise


def is_done(step: Step, folder: Path) -> bool:
    return (folder / f"{step.name}.done").exists()


def _run(
    step: Step,
    folder: Path,
    here: Path,
    environment: Mapping[str, str],
    seconds: float,
    stopping: threading.Event,
) -> None:
    print(f"{step.name}: at most {seconds:.0f} s", flush=True)
    began = time.monotonic()
    batches = [step.commands] if step.together else [[command] for command in step.commands]
    log = folder / f"{step.name}.log"
    reason = ""
    with open(log, "w", encoding="utf-8") as out:
        for batch in batches:
            for command in batch:
                out.write(f"$ {' '.join(command)}\n")
            out.flush()
            reason = _batch(batch, out, here, environment, began + seconds, stopping)
            if reason:
                break
    took = round(time.monotonic() - began, 1)
    outcome = {
        "seconds": took,
        "reason": reason,
        "commit": environment.get("LENGTHGEN_COMMIT", "unknown"),
        "commands": [" ".join(command) for command in step.commands],
    }
    name = folder / f"{step.name}.{'failed' if reason else 'done'}"
    name.write_text(json.dumps(outcome, indent=2) + "\n", encoding="utf-8")
    if not reason:
        (folder / f"{step.name}.failed").unlink(missing_ok=True)
    text = log.read_text(encoding="utf-8", errors="replace")
    last = [f"    {line[:200]}" for line in text.splitlines()[-LAST_LINES:]]
    ended = f"  {step.name}: {'FAILED, ' + reason if reason else 'done'} after {took} s"
    print("\n".join([*last, ended]), flush=True)


def _batch(
    commands: Sequence[Sequence[str]],
    out,
    here: Path,
    environment: Mapping[str, str],
    end: float,
    stopping: threading.Event,
) -> str:
    """Run commands side by side until `end`. Returns why they are not all done, or ""."""
    # Sessions of their own: what a command leaves running can be ended with it.
    started = [
        subprocess.Popen(
            command, stdout=out, stderr=out, cwd=here, env=environment, start_new_session=True
        )
        for command in commands
    ]

    def running() -> list[subprocess.Popen]:
        return [process for process in started if process.poll() is None]

    def wait(until: float) -> None:
        while running() and time.monotonic() < until:
            time.sleep(0.05)

    def work() -> None:
        while running() and time.monotonic() < end and not stopping.is_set():
            time.sleep(0.05)

    cut = False
    try:
        work()
        cut = bool(running())
    finally:
        for process in running():
            # To the process alone: a training then ends its step, which needs its children.
            process.send_signal(signal.SIGTERM)
        wait(time.monotonic() + GRACE)
        for process in started:
            _end(process)
    if cut:
        return "its time limit"
    codes = [process.returncode for process in started]
    return f"exit code {', '.join(map(str, codes))}" if any(codes) else ""


def _end(process: subprocess.Popen) -> None:
    """Kill what is left of the process's session; wait for the process."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
