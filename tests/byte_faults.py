"""Flipped bits, cut files and blank pages anywhere: python -m tests.byte_faults --flip 1000

One fault is done to one file of a finished run, of its publication or of the cache; then the same
commands are given again. They may mend it, say so and end with an exit code of their own, or never
have needed that byte. What they must not do is to end with exit code 0 and leave other numbers.
"""

import argparse
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests import file_faults

PAGE = 4096


def flip(content: bytearray, chance: random.Random) -> None:
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def cut(content: bytearray, chance: random.Random) -> None:
    del content[chance.randrange(len(content)) :]


def blank(content: bytearray, chance: random.Random) -> None:
    first = chance.randrange(0, len(content), PAGE)
    content[first : first + PAGE] = bytes(len(content[first : first + PAGE]))


KINDS: dict[str, Callable[[bytearray, random.Random], None]] = {
    "flip": flip, "cut": cut, "blank": blank,
}  # fmt: skip
WORK = "numbers"  # trains and publishes, without figures


def found(
    served: file_faults.Server, root: Path, counts: dict[str, int]
) -> tuple[Counter, list[str]]:
    """How the cases ended, and those that left other numbers."""
    here, whole = root / "work", root / "whole"
    file_faults.write_inputs(here)
    made = served.work(here, WORK)
    assert made["code"] == 0, made["said"]
    expected = file_faults.outcome(here)
    shutil.copytree(here, whole)
    files = sorted(
        path.relative_to(whole)
        for part in ("results", "cache")
        for path in (whole / part).rglob("*")
        if path.is_file() and path.stat().st_size and "sweeps" not in path.parts
    )
    chance, ended, problems = random.Random(0), Counter[str](), list[str]()
    for kind, count in counts.items():
        for _ in range(count):
            name = chance.choice(files)
            content = bytearray((whole / name).read_bytes())
            KINDS[kind](content, chance)
            shutil.rmtree(here)
            shutil.copytree(whole, here)
            (here / name).write_bytes(content)
            again = served.work(here, WORK)
            now = file_faults.outcome(here)
            if again["code"] == 99 or "Traceback" in again["said"]:
                problems.append(f"{kind} of {name}: {again['said'][-600:]}")
            elif again["code"]:
                ended[f"{kind}: refused with exit {again['code']}"] += 1
            elif now == expected:
                ended[f"{kind}: mended or harmless"] += 1
            else:
                other = [each for each in expected if now.get(each) != expected[each]]
                problems.append(f"{kind} of {name}: exit 0 and other bytes in {', '.join(other)}")
    return ended, problems


def main() -> int:
    parser = argparse.ArgumentParser(description="Flipped bits, cut files and blank pages.")
    for kind, count in (("flip", 1000), ("cut", 200), ("blank", 100)):
        parser.add_argument(f"--{kind}", type=int, default=count, metavar="N")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, file_faults.server(Path(folder)) as served:
        ended, problems = found(served, Path(folder), vars(options))
    for how, count in sorted(ended.items()):
        print(f"{count:5} {how}")
    print(f"{len(problems):5} problems", *problems, sep="\n  ")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
