"""The command line of scripts/gpu_run, and the record in FOLDER of what made it.

FOLDER/about.json    commits, newest last; whether it is a rehearsal
FOLDER/A B C         logs and outcomes of the steps, tables
FOLDER/results       runs of part C
FOLDER/archives      what is worth keeping
FOLDER/cache site text      tokenised text, installed wheels, a link to the text
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpu import archives, merge, running, steps

HEX = set("0123456789abcdef")


class Mistake(Exception):
    """One line: what was given, what was expected."""


def main(argv: Sequence[str], about: str) -> int:
    options = _parser(about).parse_args(argv)
    # As Ctrl-C: commands that are running are stopped, and not left behind.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        return _merge(options) if options.part == "merge" else _run(options)
    except (Mistake, merge.Refused) as mistake:
        print(f"gpu_run: {mistake}", file=sys.stderr)
        return 2


def _parser(about: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gpu_run", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("part", choices=(*steps.BUDGETS, "merge"))
    add("--out", type=Path, required=True, metavar="FOLDER", help="logs, tables, runs; kept")
    defaults = ", ".join(f"{part} {seconds}" for part, seconds in steps.BUDGETS.items())
    add("--budget", type=float, metavar="SECONDS", help=f"end by then (default: {defaults})")
    add("--text", type=Path, metavar="FOLDER", help="files of text, the same on every machine")
    add("--wheels", type=Path, metavar="FOLDER", help="install these, without a network")
    add("--commit", metavar="HASH", help="where the code has no repository (LENGTHGEN_COMMIT)")
    add("--archives", type=Path, metavar="FOLDER", help="default: FOLDER/archives")
    words = "changes the trainings of C and D, as steps=600; may be repeated"
    add("--set", action="append", default=[], metavar="KEY=VALUE", help=words)
    add("--dry-run", action="store_true", help="tiny sizes on a CPU; never published")
    words = "merge: into these results (default: those of this checkout)"
    add("--results", type=Path, metavar="FOLDER", help=words)
    return parser


def _run(options: argparse.Namespace) -> int:
    out, part = options.out.resolve(), options.part
    packed = (options.archives or out / "archives").resolve()
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "about.json").exists():
        archives.unpack(out)  # what came from another machine
    environment = _environment(out, options)
    _describe(out, options.dry_run, environment["LENGTHGEN_COMMIT"])
    if part in ("C", "D") and not (options.text or options.dry_run):
        raise Mistake(f"part {part} needs --text FOLDER, the text to read")
    if options.wheels:
        _install(options.wheels.resolve(), out / "site")
    place = steps.Place(options.dry_run, _text(out, options.text), tuple(options.set))
    planned = steps.of_part(part, place)
    budget = options.budget or (600 if options.dry_run else steps.BUDGETS[part])

    def pack() -> None:
        written = archives.pack(out, packed)
        sizes = [archive.stat().st_size for archive in written]
        print(f"  {len(written)} archives, {sum(sizes) / 2**20:.1f} MiB", flush=True)
        if len(written) > archives.MOST or max(sizes) > 16 * 2**20:
            print(f"  WARNING: more than {archives.MOST} archives of 16 MiB: {sizes}", flush=True)

    done = running.run_all(planned, out / part, out, environment, budget, pack)
    return 0 if done else 1


def _environment(out: Path, options: argparse.Namespace) -> dict[str, str]:
    """Of the commands: they find the package and its wheels, and cache inside FOLDER."""
    before = os.environ.get("PYTHONPATH")
    path = [str(steps.ROOT), str(out / "site"), *([before] if before else [])]
    commit = options.commit or os.environ.get("LENGTHGEN_COMMIT") or _commit()
    # Inductor's code for a CPU says nothing of a GPU, and takes half a minute a model.
    rehearsal = {"TORCH_COMPILE_DISABLE": "1"} if options.dry_run else {}
    return {
        **os.environ,
        **rehearsal,
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONUNBUFFERED": "1",
        "LENGTHGEN_COMMIT": commit,
        "LENGTHGEN_CACHE": str(out / "cache"),
    }


def _commit() -> str:
    """Of the checkout; `unknown` in a copy that has no repository."""
    command = ["git", "-C", str(steps.ROOT), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


def _describe(out: Path, tiny: bool, commit: str) -> None:
    """Write about.json, or check that this call belongs to what is there."""
    file = out / "about.json"
    if not tiny and (len(commit) != 40 or set(commit) - HEX):
        raise Mistake(f"the commit is {commit!r}; give --commit HASH (40 digits): results name it")
    about: dict[str, Any] = {"dry_run": tiny, "commits": []}
    if file.exists():
        about = json.loads(file.read_text(encoding="utf-8"))
    if about["dry_run"] != tiny:
        kind = "a rehearsal" if about["dry_run"] else "no rehearsal"
        raise Mistake(f"{out.name} is {kind}; give another --out FOLDER")
    # What is done stays done, with the commit that every step, table and run names for itself.
    if about["commits"] and commit not in about["commits"]:
        print(f"note: some of {out.name} was made by commit {about['commits'][-1]}", flush=True)
    about["commits"] = [*(c for c in about["commits"] if c != commit), commit]
    file.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def _install(wheels: Path, site: Path) -> None:
    if site.is_dir():
        return
    files = sorted(map(str, wheels.glob("*.whl")))
    if not files:
        raise Mistake(f"--wheels {wheels.name} holds no .whl")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps"]
    done = subprocess.run([*command, "--no-compile", "--target", str(site), *files])
    if done.returncode:
        shutil.rmtree(site, ignore_errors=True)
        raise Mistake(f"--wheels {wheels.name}: pip ended with {done.returncode}")


def _text(out: Path, text: Path | None) -> tuple[str, ...]:
    """The overrides for the text, under a name in FOLDER: no path of a machine in a command.

    Without one the package's own source, which is enough for parts A and B.
    """
    source = (text or steps.ROOT / "lengthgen").resolve()
    if not source.is_dir():
        raise Mistake(f"--text {text} is no folder")
    link = out / "text"
    link.unlink(missing_ok=True)
    link.symlink_to(source)
    return "dataset=files", "dataset.path=text", f"dataset.label={source.name}"


def _merge(options: argparse.Namespace) -> int:
    out = options.out.resolve()
    archives.unpack(out)
    results = (options.results or steps.ROOT / "results").resolve()
    if options.dry_run:
        results = out / "merged"
    for path in merge.merge(out, results, options.dry_run):
        print(os.path.relpath(path))
    return 0
