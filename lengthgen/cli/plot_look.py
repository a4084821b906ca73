"""How `lengthgen plot` is asked to draw: its flags, brought into a Look and what is chosen."""

import argparse
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lengthgen.config import catalogue
from lengthgen.config.nearest import nearest
from lengthgen.config.redaction import redact_text
from lengthgen.errors import ConfigError
from lengthgen.evaluation import selection
from lengthgen.reporting.figures import names
from lengthgen.reporting.figures.chosen import Chosen
from lengthgen.reporting.figures.look import FORMATS, METRICS, STYLES, Look

WIDTHS = (2.0, 40.0)  # inches
# An = in brackets belongs to a label: t5_bias(num_buckets=64)=T5.
LABEL = re.compile(r"(?P<name>(?:[^=(]|\([^)]*\))+)=(?P<text>.+)", re.DOTALL)
FLAGS = (
    "format", "width", "style", "grey", "labels", "no_title", "schemes", "lengths", "metric", "to",
)  # fmt: skip


def add_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("figures for a paper, slides or a page of yours").add_argument
    add("--format", metavar="LIST", help=f"of {', '.join(FORMATS)} (default: png,svg)")
    add("--width", metavar="INCHES", help="of the whole figure (default: paper 3.35, slide 10)")
    words = "paper and slide: names as papers write them, and no sentences under the title"
    add("--style", choices=STYLES, help=words)
    add("--grey", action="store_true", help="without colours")
    several: dict[str, Any] = {"nargs": "+", "action": "extend", "default": []}
    words = 'what a scheme is called: t5_bias="T5 bias"'
    add("--labels", metavar="NAME=TEXT", help=words, **several)
    add("--no-title", action="store_true", help="without title, for a caption of yours")
    words = "these alone (arms of a study as well), by comma"
    add("--schemes", metavar="NAMES", help=words, **several)
    add("--lengths", metavar="LENGTHS", help="these evaluation lengths alone, by comma", **several)
    words = "of the curves by evaluation length (default: perplexity)"
    add("--metric", choices=METRICS, help=words)
    words = "folder for these figures (default: RESULTS/figures/STYLE); others stay as they are"
    add("--to", metavar="FOLDER", help=words)


def given(options: argparse.Namespace) -> list[str]:
    """The flags of this file that were given, as they are written."""
    return [f"--{name.replace('_', '-')}" for name in FLAGS if getattr(options, name)]


def look(options: argparse.Namespace) -> Look:
    """ConfigError for a format, width or label that cannot be."""
    style = options.style or "page"
    titles = names.titles(catalogue.folders()) if STYLES[style].titles else {}
    return Look(
        style,
        given_width=_width(options.width),
        grey=options.grey,
        title=not options.no_title,
        metric=options.metric or METRICS[0],
        formats=_formats(options.format),
        names=titles | dict(_labels(options.labels)),
    )


def chosen(options: argparse.Namespace) -> Chosen:
    """ConfigError for what is no length."""
    lengths = []
    for text in _split(options.lengths):
        if not re.fullmatch(r"[1-9]\d{0,8}", text):
            raise ConfigError(f"--lengths {text}: expected numbers of tokens, such as 512,1024")
        lengths.append(int(text))
    return Chosen(tuple(_split(options.schemes)), tuple(lengths))


def folder(options: argparse.Namespace, results: Path) -> Path:
    """Where the figures go."""
    return Path(options.to) if options.to else results / "figures" / (options.style or "page")


def check_names(wanted: Sequence[str], known: set[str]) -> None:
    """ConfigError for a scheme that no figure has."""
    for name in wanted:
        if name not in known:
            near = nearest(name, sorted(known))
            hint = (
                f"did you mean {' or '.join(near)}?"
                if near
                else f"expected {', '.join(sorted(known))}"
            )
            raise ConfigError(f"--schemes {name}: no figure has it; {hint}")


def _width(text: str | None) -> float | None:
    if text is None:
        return None
    low, high = WIDTHS
    try:
        width = float(text)
    except ValueError:
        width = 0.0
    if not low <= width <= high:
        raise ConfigError(f"--width {text}: expected inches, from {low:g} to {high:g}")
    return width


def _formats(text: str | None) -> tuple[str, ...]:
    formats = tuple(dict.fromkeys((text or "png,svg").lower().split(",")))
    for name in formats:
        if name not in FORMATS:
            raise ConfigError(f"--format {name}: expected {', '.join(FORMATS)}, by comma")
    return formats


def _labels(texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    for text in texts:
        parts = LABEL.fullmatch(text)
        if not parts:
            raise ConfigError(f'--labels {text}: expected NAME=TEXT, such as t5_bias="T5 bias"')
        yield parts["name"], redact_text(parts["text"])


def _split(texts: Sequence[str]) -> list[str]:
    return [part for text in texts for part in selection.COMMA.split(text) if part]
