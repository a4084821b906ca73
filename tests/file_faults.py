"""Kills and failing calls at every call on files: python -m tests.file_faults --every 1 [WHAT ...]

file_faults.c, loaded before libc, counts the calls on files below the folder of a case. A case does
a piece of work (train and publish, evaluate, a study, a sweep) in a forked process in which the
n-th call does not happen: the process is killed before it, or the call fails with an errno. Then
the work is done again, without a fault. It has to end, and to leave the bytes that it leaves when
nothing ever failed: tables, losses, weights, figures, publication.

Prints a line for each kind of fault. Linux, with a C compiler.
"""

import argparse
import contextlib
import ctypes
import errno
import hashlib
import io
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_suffix(".c")
OPEN_TO_READ, OPEN_TO_WRITE, WRITE, SYNC, RENAME, MKDIR, UNLINK, READ = (1 << n for n in range(8))
CHANGES = OPEN_TO_WRITE | WRITE | SYNC | RENAME | MKDIR | UNLINK


@dataclass(frozen=True)
class Fault:
    """number: an errno, 0 for a kill. kinds: of calls that it can happen to. sticks: from there on.

    codes: exit codes that are right. 0: what failed was a tidying that may fail.
    """

    name: str
    number: int
    kinds: int
    sticks: bool = False
    codes: tuple[int, ...] = (0, 7)


FAULTS = (
    Fault("kill", 0, CHANGES, codes=(-9,)),
    Fault("ENOSPC", errno.ENOSPC, OPEN_TO_WRITE | WRITE | SYNC | RENAME | MKDIR),
    Fault("ENOSPC from there on", errno.ENOSPC, OPEN_TO_WRITE | WRITE | SYNC | MKDIR, sticks=True),
    Fault("EIO", errno.EIO, WRITE | SYNC | READ | RENAME, codes=(0, 2, 3, 4, 7)),
    Fault("EACCES", errno.EACCES, CHANGES & ~WRITE | OPEN_TO_READ, codes=(0, 2, 3, 4, 7)),
    Fault("EMFILE", errno.EMFILE, OPEN_TO_READ | OPEN_TO_WRITE, codes=(0, 2, 3, 4, 7)),
)
# A study of two arms; base: the overrides of every run.
STUDY = """# Two arms
claim: ALiBi is worse at twice its length.
show: change
base: [{base}]
scales:
  small: {{seeds: 1}}
arms:
  none: [scheme=none]
  alibi: [scheme=alibi]
claims:
  differ:
    claim: ALiBi at twice its length
    measure: change
    subject: alibi
    length_factor: 2
    predict: above 0
    primary: true
"""
SCHEMES = (
    "t5_bias", "learned", "alibi", "rope", "fire", "cope", "randomised_learned", "fox",
)  # fmt: skip
EVALUATION = ("evaluation.documents=4", "evaluation.blocks=2", "evaluation.resamples=50")
SMALL = (
    "dataset=files", "model=nano", "model.n_layers=1", "model.n_heads=2", "model.width=16",
    "train_length=16", "steps=4", "batch_size=2", "checkpoint_every=1", "checkpoint_seconds=0",
    "validate_every=2", "log_every=1", "threads=1", "tracking=none",
    "evaluation.lengths=[16,32]", *EVALUATION,
)  # fmt: skip


def commands(what: str, folder: Path, scheme: str = "t5_bias") -> list[list[str]]:
    """The command lines of a piece of work; all of its files lie below `folder`."""
    places = [f"results={folder}/results", f"cache={folder}/cache"]
    small = [*SMALL, f"dataset.path={folder}/text", *places]
    results = ["--results", f"{folder}/results"]
    train = ["train", f"scheme={scheme}", *small]
    # By its folder: a scheme's name need not be what its runs' begin with.
    runs = sorted(path.parent.name for path in folder.glob("results/runs/[!.]*/config.yaml"))
    trained = runs[0] if runs else scheme
    publish = ["plot", *results, "--publish", "x"]
    study = ["study", "two", *results, "--config-dir", f"{folder}/configs", "--workers", "1"]
    return {
        "train": [train, publish],
        "numbers": [train, publish],
        "plot": [["plot", *results]],
        "evaluate": [
            ["evaluate", f"run={trained}", "evaluation.lengths=[16,24]", *places, *EVALUATION]
        ],
        "sweep": [
            [
                "train",
                "-m",
                "scheme=none,alibi",
                *small,
                f"hydra.sweep.dir={folder}/results/sweeps/a",
            ]
        ],
        "study": [[*study, "--register"], study],
    }[what]


BEFORE = {
    "train": [], "plot": ["train"], "evaluate": ["train"], "sweep": [], "study": [],
}  # fmt: skip


def outcome(folder: Path) -> dict[str, str]:
    """What must not depend on what failed: relative path -> a hash.

    A study's page and figure carry the time of its registration.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if "/wandb/" in name:  # a log of what happened, kills included
            continue
        last = path.suffix in (".csv", ".npz", ".png", ".svg", ".md")
        dated = "/studies/" in name and path.suffix != ".csv"
        if path.is_file() and last and not dated and "/sweeps/" not in name:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    for path in sorted(folder.rglob("done.json")):
        found[path.relative_to(folder).as_posix()] = json.loads(path.read_text())["weights_sha256"]
    return found


# The process that runs the cases


def serve() -> None:
    """Requests on stdin, answers on stdout: JSON lines. Imports everything, then forks for each."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import torch

    torch.set_num_threads(1)
    from lengthgen.cli import main
    from lengthgen.reporting import drawn

    # Once, unarmed: what is imported and built here is there in every fork.
    with tempfile.TemporaryDirectory() as folder:
        write_inputs(Path(folder))
        for what in ("train", "study"):
            assert _work(main.main, commands(what, Path(folder)))[0] == 0
    shim = ctypes.CDLL(None)
    for line in sys.stdin:
        request = json.loads(line)
        reads, writes = os.pipe()
        child = os.fork()
        if not child:
            os.close(reads)
            folder = request["folder"]
            if request["record"]:
                mode = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
                shim.faults_record(os.open(request["record"], mode))
            if request["what"] == "numbers":
                drawn.curves = drawn.verdict = lambda *given, **more: []
            arguments = (request["kinds"], request["at"], request["errno"], request["sticks"])
            shim.faults_arm(folder.encode(), *map(ctypes.c_long, arguments))
            code, said = _work(main.main, request["commands"])
            calls = shim.faults_calls()
            shim.faults_arm(b"", 0, 0, 0, 0)
            os.write(writes, json.dumps({"code": code, "said": said, "calls": calls}).encode())
            os._exit(0)
        os.close(writes)
        with os.fdopen(reads) as answer:
            if (
                request["kill_after"]
                and not select.select([answer], [], [], request["kill_after"])[0]
            ):
                os.kill(child, signal.SIGKILL)
            text = answer.read()
        os.waitpid(child, 0)
        answers.write((text or json.dumps({"code": -9, "said": "", "calls": 0})) + "\n")
        answers.flush()


def _work(main: Any, lines: Sequence[Sequence[str]]) -> tuple[int, str]:
    printed = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(printed):
        for argv in lines:
            try:
                code = main(list(argv))
            except BaseException:
                return 99, printed.getvalue() + traceback.format_exc()
            if code:
                return code, printed.getvalue()
    return 0, printed.getvalue()


class Server:
    """The process that forks for every case."""

    def __init__(self, shim: Path):
        root = str(Path(__file__).parents[1])
        path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
        environment = {
            **os.environ,
            "LD_PRELOAD": str(shim),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": path,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.file_faults", "--serve"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=root,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def work(
        self,
        folder: Path,
        what: str,
        fault: Fault | None = None,
        at: int = 0,
        record: Path | None = None,
        scheme: str = "t5_bias",
        kill_after: float = 0,
    ) -> dict[str, Any]:
        """Do `what` below `folder`. Answers its code, words and calls.

        kill_after: seconds; 0: never.
        """
        kinds, number, sticks = (
            (fault.kinds, fault.number, fault.sticks) if fault else (0, 0, False)
        )
        request = {
            "folder": f"{folder}/", "what": what, "commands": commands(what, folder, scheme),
            "at": at, "kill_after": kill_after,
            "kinds": kinds, "errno": number, "sticks": int(sticks), "record": str(record or ""),
        }  # fmt: skip
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


@contextlib.contextmanager
def server(folder: Path) -> Iterator[Server]:
    """Compiles the shim into `folder` and starts the process."""
    shim = folder / "file_faults.so"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-O1", "-o", str(shim), str(SOURCE), "-ldl"], check=True
    )
    started = Server(shim)
    try:
        yield started
    finally:
        started.close()


@dataclass
class Found:
    """What the cases of one kind of fault came to. problems: one line each; none is right."""

    what: str
    fault: str
    calls: int
    cases: int
    codes: Counter[int]
    problems: list[str]

    def __str__(self) -> str:
        codes = ", ".join(f"{n} x exit {code}" for code, n in sorted(self.codes.items()))
        return (
            f"{self.what}, {self.fault}: {self.cases} of {self.calls} calls, {codes}; "
            f"{len(self.problems)} problems"
        )


def write_inputs(case: Path) -> None:
    """Twelve small documents and the declaration of the study."""
    import numpy as np

    folder, studies = case / "text", case / "configs" / "study"
    folder.mkdir(parents=True)
    studies.mkdir(parents=True)
    base = [each for each in SMALL if not each.startswith("tracking")]
    base += [f"dataset.path={folder}", f"cache={case}/cache"]
    (studies / "two.yaml").write_text(STUDY.format(base=json.dumps(base)))
    chance = np.random.default_rng(0)
    words = ["alpha", "beta", "gamma", "delta", "(", ")", "\n"]
    for i in range(12):
        (folder / f"d{i:02d}.txt").write_text(" ".join(chance.choice(words, 60)))


def found(served: Server, root: Path, what: str, fault: Fault, every: int, first: int = 1) -> Found:
    """Every `every`-th call of `what` meets the fault, from the `first` on."""
    start, here = root / "start", root / "work"
    for folder in (start, here, root / "whole"):
        shutil.rmtree(folder, ignore_errors=True)
    # Always in the same place: the place is in config.yaml.
    write_inputs(here)
    for before in BEFORE[what]:
        assert served.work(here, before)["code"] == 0
    shutil.copytree(here, start, symlinks=True)
    whole = served.work(here, what, fault, 0)
    assert whole["code"] == 0, whole["said"]
    expected, calls = outcome(here), whole["calls"]
    made = Found(what, fault.name, calls, 0, Counter(), [])
    for at in range(first, calls + 1, every):
        shutil.rmtree(here)
        shutil.copytree(start, here, symlinks=True)
        case, words = served.work(here, what, fault, at), f"{what}, {fault.name} at call {at}"
        made.cases += 1
        made.codes[case["code"]] += 1
        if case["code"] not in fault.codes:
            made.problems.append(f"{words}: exit {case['code']}: {case['said'][-1500:]}")
        elif case["code"] > 0 and "Traceback" in case["said"]:
            made.problems.append(f"{words}: a traceback: {case['said'][-1500:]}")
        again = served.work(here, what)
        if again["code"]:
            made.problems.append(f"{words}, again: exit {again['code']}: {again['said'][-1500:]}")
        if unlike := differing(outcome(here), expected):
            made.problems.append(f"{words}: other bytes in {', '.join(unlike)}")
    return made


def killed_at_random(
    served: Server, root: Path, what: str, scheme: str, kills: int, chance: random.Random
) -> Found:
    """So many kills at random times, up to three in a row before the work may end."""
    here, start = root / "work", root / "start"
    for folder in (start, here):
        shutil.rmtree(folder, ignore_errors=True)
    write_inputs(here)
    for before in BEFORE[what]:
        assert served.work(here, before, scheme=scheme)["code"] == 0
    shutil.copytree(here, start)
    began = time.monotonic()
    whole = served.work(here, what, scheme=scheme)
    seconds = time.monotonic() - began
    assert whole["code"] == 0, whole["said"]
    expected = outcome(here)
    made = Found(f"{what} of {scheme}", "random kills", whole["calls"], 0, Counter(), [])
    while made.cases < kills:
        shutil.rmtree(here)
        shutil.copytree(start, here)
        words = f"{what} of {scheme}, kills"
        for _ in range(min(chance.randint(1, 3), kills - made.cases)):
            after = chance.uniform(0, seconds)
            code = served.work(here, what, scheme=scheme, kill_after=after)["code"]
            made.codes[code] += 1
            made.cases += code == -9
            words += f" after {after:.3f} s"
            if code not in (0, -9):
                made.problems.append(f"{words}: exit {code}")
        again = served.work(here, what, scheme=scheme)
        if again["code"]:
            made.problems.append(f"{words}, again: exit {again['code']}: {again['said'][-1500:]}")
        if unlike := differing(outcome(here), expected):
            made.problems.append(f"{words}: other bytes in {', '.join(unlike)}")
    return made


def differing(now: dict[str, str], expected: dict[str, str]) -> list[str]:
    return sorted(name for name in now.keys() | expected if now.get(name) != expected.get(name))


def main() -> int:
    parser = argparse.ArgumentParser(description="Kills and failing calls at every call on files.")
    parser.add_argument("what", nargs="*", default=list(BEFORE), metavar="WHAT")
    parser.add_argument("--every", type=int, default=1, metavar="N")
    words = "from this kind of fault on: " + ", ".join(fault.name for fault in FAULTS)
    names = [fault.name for fault in FAULTS]
    parser.add_argument("--from", dest="first", choices=names, default=names[0], help=words)
    words = "kills at random times instead, over SCHEMES and every WHAT"
    parser.add_argument("--random", type=int, default=0, metavar="KILLS", help=words)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return 0
    problems = 0
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as served:
        for made in _all(served, Path(folder), options):
            print(made, *made.problems, sep="\n  ", flush=True)
            problems += len(made.problems)
    return 1 if problems else 0


def _all(served: Server, root: Path, options: argparse.Namespace) -> Iterator[Found]:
    if not options.random:
        for what in options.what:
            first = [fault.name for fault in FAULTS].index(options.first)
            for fault in FAULTS[first:]:
                yield found(served, root, what, fault, options.every)
        return
    chance = random.Random(0)
    # A study and a sweep name their schemes themselves.
    pairs = [
        (what, scheme)
        for what in options.what
        for scheme in (SCHEMES if what in ("train", "evaluate", "plot") else SCHEMES[:1])
    ]
    for n, (what, scheme) in enumerate(pairs):
        kills = options.random * (n + 1) // len(pairs) - options.random * n // len(pairs)
        yield killed_at_random(served, root, what, scheme, kills, chance)


if __name__ == "__main__":
    sys.exit(main())
