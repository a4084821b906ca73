"""A sweep that is killed at random times and issued again, under each engine.

    python -m tests.sweep_kills joblib ray --kills 5

Kills are SIGKILL, in turn of everything at once, as when a machine dies, and of the command alone.
What must hold then: every run is finished, none was trained to its end twice, and all files of
numbers are those of a sweep that nobody disturbed.
"""

import argparse
import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
MARK = "LENGTHGEN_KILLED_BY"  # environment of every process of one sweep
ENGINES = {
    "basic": "",
    "isolate": "--isolate",
    "joblib": "hydra/launcher=joblib hydra.launcher.n_jobs=2",
    "submitit_local": "hydra/launcher=submitit_local hydra.sweeper.max_batch_size=4",
    "ray": "hydra/launcher=ray hydra.launcher.n_jobs=2",
}
SCHEMES, SEEDS = "none,rope,alibi,t5_bias", "0,1,2,3,4,5"
SMALL = (
    "dataset=files dataset.path=text dataset.validation_fraction=0.5 steps=4 train_length=16 "
    "batch_size=2 model.width=16 model.n_layers=1 evaluation=quick evaluation.documents=4 "
    "tracking=none threads=1 checkpoint_every=1 checkpoint_seconds=0"
)


@dataclass(frozen=True)
class Kill:
    after: float  # seconds
    everything: bool


@dataclass
class Command:
    """A sweep in a folder, as a process whose descendants can be found."""

    folder: Path
    engine: str
    schemes: str = SCHEMES
    seeds: str = SEEDS
    more: str = ""

    def begin(self) -> subprocess.Popen:
        words = f"train -m {ENGINES[self.engine]} scheme={self.schemes} seed={self.seeds} {SMALL}"
        environment = {
            **os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *_path()]), MARK: self.mark,
            "LENGTHGEN_CACHE": str(self.folder / "cache"), "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        with (self.folder / "said.txt").open("a") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "lengthgen", *words.split(), *self.more.split()],
                cwd=self.folder, stdout=said, stderr=said, env=environment, start_new_session=True,
            )  # fmt: skip

    @property
    def mark(self) -> str:
        return str(self.folder)

    def to_its_end(self, kill: Kill | None = None) -> int:
        """The exit code. A kill that comes after the end is none."""
        process = self.begin()
        try:
            return process.wait(kill and kill.after)
        except subprocess.TimeoutExpired:
            for pid in self.processes() if kill and kill.everything else [process.pid]:
                _kill(pid)
            code = process.wait()
            self.wait_for_orphans()
            return code

    def processes(self) -> list[int]:
        """All of this sweep, whoever their parents are now."""
        wanted, found = f"{MARK}={self.mark}".encode(), []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if wanted in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
            except OSError:  # it has gone, or is another user's
                continue
        return found

    def wait_for_orphans(self, seconds: float = 30) -> None:
        """Jobs save and end, or come to their end, when the command is gone."""
        ends = time.monotonic() + seconds
        while self.processes() and time.monotonic() < ends:
            time.sleep(0.2)
        for pid in self.processes():  # engines that wait for another command, such as loky's
            _kill(pid)


def _path() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def write_text(folder: Path) -> None:
    chance = random.Random(0)
    (folder / "text").mkdir(parents=True)
    for n in range(20):
        words = (chance.choice(["alpha", "beta", "gamma", "(", ")"]) for _ in range(150))
        (folder / "text" / f"{n}.txt").write_text(" ".join(words))


def numbers(folder: Path) -> dict[str, str]:
    """Run -> the hash of its weights and of its losses."""
    found = {}
    for done in sorted(folder.glob("results/runs/*/done.json")):
        losses = sorted(done.parent.glob("evaluation/*/losses.npz"))
        sums = [hashlib.sha256(path.read_bytes()).hexdigest() for path in losses]
        log = (done.parent / "log.txt").read_text()
        weights = {line.rpartition(" ")[2] for line in log.splitlines() if "weights sha256" in line}
        found[done.parent.name] = " ".join([*sorted(weights), *sums])
    return found


def trained(folder: Path) -> dict[str, int]:
    """Run -> how often its training came to its end."""
    logs = folder.glob("results/runs/*/log.txt")
    return {log.parent.name: log.read_text().count(" trained in ") for log in logs}


def killed(engine: str, root: Path, kills: Sequence[Kill], whole: dict[str, str]) -> list[str]:
    """What is wrong after these kills and a last, undisturbed command; empty if nothing."""
    folder = root / engine
    write_text(folder)
    command = Command(folder, engine)
    codes = [command.to_its_end(kill) for kill in kills]
    last = command.to_its_end()
    made, times = numbers(folder), trained(folder)
    print(
        f"{engine}: kills {[(round(k.after), 'all' if k.everything else 'command') for k in kills]}"
        f" exit codes {codes}, then {last}; {len(made)} of {len(whole)} finished, trained to the "
        f"end {sorted(times.values())[0]} to {max(times.values())} times each, "
        f"{sum(made.get(run) == whole[run] for run in whole)} equal",
        flush=True,
    )
    problems = [f"exit code {last} at last"] if last else []
    problems += [f"{run} trained {n} times" for run, n in times.items() if n != 1]
    return problems + [f"{run}: other numbers" for run in whole if made.get(run) != whole[run]]


def undisturbed(root: Path) -> dict[str, str]:
    folder = root / "whole"
    write_text(folder)
    assert Command(folder, "basic").to_its_end() == 0, (folder / "said.txt").read_text()[-2000:]
    return numbers(folder)


def at_random(seconds: float, n: int, chance: random.Random) -> list[Kill]:
    """Later than the start of Python and torch, in turn of all and of the command alone."""
    return [Kill(chance.uniform(0.2, 1) * seconds, bool(i % 2 == 0)) for i in range(n)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("engines", nargs="*", default=list(ENGINES), metavar="ENGINE")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--within", type=float, default=40, help="seconds of a command: kills")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        whole = undisturbed(root)
        print(f"undisturbed: {len(whole)} runs", flush=True)
        chance = random.Random(options.seed)
        for engine in options.engines:
            kills = at_random(options.within, options.kills, chance)
            problems += killed(engine, root, kills, whole)
    print("\n".join(problems) or "nothing wrong")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
