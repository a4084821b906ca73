"""The command `lengthgen bench`: its arguments.

    lengthgen bench train --threads 1                  tokens/s of training, every scheme
    lengthgen bench train --peers --out results/bench  beside other libraries and a plain GPT
    lengthgen bench evaluate                           tokens/s of evaluation
    lengthgen bench attention                          the attention call alone, and the batches
    lengthgen bench bias_gradient                      on a GPU: the gradient of a bias
    lengthgen bench share                              what a run's evaluation takes of its time
    lengthgen bench decode --schemes rope,rope+rerope  prefill and decoding with a cache
    lengthgen bench together --models 12               so many trainings as one program
    lengthgen bench memory --tokens 32768              peak memory of evaluating a long document
    lengthgen bench marks                              all pass marks in one table

The process has the settings of a run, for peers as well, with one exception: beside other libraries
nobody keeps freed memory. Keeping it is lengthgen's doing, and it halves the time of attention that
writes matrices of length x length. Device and precision are those of a run: CUDA with bfloat16
autocast where there is one, with synchronised wall time and torch's peak memory.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lengthgen.config import command_line, paths
from lengthgen.runs import process

KINDS = (
    "train", "evaluate", "decode", "together", "share", "attention", "bias_gradient", "memory",
    "marks",
)  # fmt: skip


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a positive integer")
    return value


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(map(_positive, text.split(",")))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text}: expected positive integers, such as 512,2048"
        ) from error


def _folder(text: str) -> Path:
    return paths.folder(text, "--out")


def _tiles(text: str) -> tuple[tuple[int, int], ...]:
    pairs = [re.fullmatch(r"(\d+)x(\d+)", tile) for tile in text.split(",")]
    if not all(pairs):
        raise argparse.ArgumentTypeError(f"{text}: expected tiles such as 64x64,128x64")
    return tuple((int(pair[1]), int(pair[2])) for pair in pairs if pair)


def parser() -> argparse.ArgumentParser:
    parser = command_line.Parser(
        prog="lengthgen bench",
        description=__doc__.partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    def add(name: str, default: Any = None, help: str | None = None, **how: Any) -> None:
        parser.add_argument(name, default=default, help=help, **how)

    def number(name: str, default: int | None, help: str | None = None) -> None:
        add(name, default, help, type=_positive, metavar="N")

    add("what", "train", "default: train", nargs="?", choices=KINDS)
    words = "default: all (marks, decode, together: their own); `none` is always there, but in "
    words += "decode and together; "
    words += "decode: with a retrofit as rope+rerope or rope+yarn:factor=4"
    add("--schemes", "", words, metavar="A,B")
    add("--peers", False, "train: beside other libraries and a plain GPT", action="store_true")
    number("--layers", 6)
    number("--width", 256)
    number("--heads", 8)
    number("--length", 512, "tokens in a training window")
    number("--batch", 8, "windows in a training step")
    number("--vocab", 257)
    number("--rounds", 7, "each candidate is measured once a round")
    number("--threads", None, "CPU threads; default: torch's own choice")
    words = "what counts; auto: CPU time on one CPU thread, else wall time"
    add("--clock", "auto", words, choices=("auto", "wall", "cpu"))
    add("--device", "auto", choices=("auto", "cpu", "cuda"))
    add("--precision", "auto", "auto: bf16 on CUDA, fp32 on CPU", choices=("auto", "fp32", "bf16"))
    words = "our attention kernel: auto, cpu, sdpa, flex, reference"
    add("--kernel", "auto", words, metavar="NAME")
    add("--linear", "auto", "our products with weights: auto, torch, onednn", metavar="NAME")
    number("--models", 12, "together: models that are trained")
    add(
        "--compile",
        False,
        "train, together: torch.compile our losses, as a run does",
        action="store_true",
    )
    number("--documents", 1, "evaluate: documents in one evaluation")
    number("--tokens", 32768, "memory: tokens of the document")
    words = "decode: tokens of a prompt"
    add("--lengths", (512, 2048, 8192), words, type=_numbers, metavar="N,N")
    words = "decode: texts that are decoded together"
    add("--batches", (1, 8), words, type=_numbers, metavar="N,N")
    number("--new", 32, "decode: tokens of one measurement")
    number("--scale", 1, "attention, bias_gradient, share: divide lengths by N, and judge nothing")
    words = "bias_gradient: so many of its shapes, the largest first; default: all"
    number("--shapes", None, words)
    add("--tiles", None, "bias_gradient: default: all", type=_tiles, metavar="64x64,128x64")
    add("--seconds", 0.2, "repeat shorter calls until a measurement takes so long", type=float)
    words = "write CSV, Markdown, PNG and SVG there; default: print only"
    add("--out", None, words, type=_folder, metavar="FOLDER")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run one benchmark; the exit code is 0 whatever it measured."""
    options = parser().parse_args(list(argv))
    process.prepare_environment()
    process.prepare_torch(options.threads)
    if not options.peers and options.what not in ("attention", "bias_gradient", "marks"):
        process.keep_memory()
    # Imports torch, which --help does not need.
    from lengthgen.bench import kinds

    kinds.run(options)
    return 0
