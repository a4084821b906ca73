"""`lengthgen list schemes|datasets|models|runs`, and the help of `lengthgen train` and `evaluate`: tables for the terminal.

Everything is read from the folders and from what the schemes declare; nothing is listed by hand. torch is imported only to
count parameters.
"""

import argparse
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lengthgen import arguments, catalogue, records, schemes
from lengthgen.errors import ConfigError, UserError

WIDTH = 140
TRAIN_LENGTH = 512  # of the counts in `list schemes`
TOPICS = ("schemes", "datasets", "models", "runs")
YES_NO = {True: "yes", False: "no"}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        raise ConfigError(f"{message}; see `lengthgen list --help`")


def main(argv: Sequence[str]) -> int:
    """Print one list. ConfigError for an unknown topic or flag."""
    parser = _Parser(prog="lengthgen list", description="What there is: schemes, datasets, models, runs.", allow_abbrev=False)
    parser.add_argument("topic", metavar="|".join(TOPICS))
    parser.add_argument("--config-dir", metavar="DIR", help="your own configurations and schemes beside the package's")
    parser.add_argument("--results", metavar="FOLDER", default="results", help="folder whose runs are listed (default: results)")
    given = parser.parse_args(list(argv) or [""])
    if given.topic not in TOPICS:
        near = arguments.nearest(given.topic, TOPICS)
        what = f"no list of {given.topic!r}" if given.topic else "list what?"
        raise ConfigError(f"{what}; {'nearest' if near else 'expected one of'}: {', '.join(near or TOPICS)}")
    own = arguments.existing_folder(given.config_dir) if given.config_dir else None
    where = catalogue.folders(own)
    listed = {
        "schemes": lambda: scheme_table(where),
        "datasets": lambda: dataset_table(where),
        "models": lambda: model_table(where),
        "runs": lambda: run_table(Path(given.results)),
    }
    print(listed[given.topic]())
    return 0


def scheme_table(where: Sequence[Path]) -> str:
    """What each scheme declares with its YAML's options. One that cannot be loaded is a row that says why."""
    from lengthgen.schemes.base import Dimensions

    tiny = OmegaConf.load(catalogue.files("model", where)["tiny"])
    head = ("scheme", "year", "paper", "acts on", "structure", "parameters", "sharing", "prefix", "past the trained length")
    dimensions = Dimensions(tiny.n_layers, tiny.n_heads, tiny.width // tiny.n_heads, tiny.width, TRAIN_LENGTH)
    rows = []
    for name, path in sorted(catalogue.files("scheme", where).items()):
        try:
            scheme = _scheme(path, where, dimensions)
        except UserError as error:
            rows.append((name, "", "", "", "", "", "", "", f"cannot be loaded: {error}"))
            continue
        d = scheme.declaration
        count = f"{sum(p.numel() for p in scheme.parameters()):,}"
        rows.append((name, str(d.year), d.paper, d.acts_on, d.structure, count, d.sharing, YES_NO[d.prefix_consistent], d.tail))
    notes = (
        f"parameters: the scheme's own, in the tiny model at train_length={TRAIN_LENGTH}; "
        "prefix: logits at a position stay the same when more tokens follow"
    )
    return aligned(head, rows, wrapped={2: 20, 3: 8, 6: 18}) + f"\n{notes}"


def _scheme(path: Path, where: Sequence[Path], dimensions: Any) -> Any:
    """The scheme of a YAML file with that file's options."""
    from lengthgen import typed

    options = OmegaConf.to_container(OmegaConf.load(path))
    name = options.pop("name", path.stem)
    options.pop("defaults", None)
    cls = schemes.load(name, [root / "scheme" for root in where[1:]])
    return cls(typed.build(cls.Config, options, "scheme"), dimensions)


def dataset_table(where: Sequence[Path]) -> str:
    """Each option of dataset= and what it is."""
    rows = [(name, catalogue.meaning(path)) for name, path in sorted(catalogue.files("dataset", where).items())]
    return aligned(("dataset", "what it is"), rows)


def model_table(where: Sequence[Path]) -> str:
    """Each option of model= with its shape and number of parameters (byte vocabulary, no positional ones)."""
    rows = []
    for name, path in catalogue.files("model", where).items():
        shape = OmegaConf.load(path)
        rows.append((name, _model_parameters(path), shape.n_layers, shape.n_heads, shape.width, catalogue.meaning(path)))
    rows.sort(key=lambda row: row[1])
    cells = [(name, f"{count:,}", *map(str, shape), what) for name, count, *shape, what in rows]
    head = ("model", "parameters", "n_layers", "n_heads", "width", "what it is")
    return aligned(head, cells) + "\nparameters: with the byte tokenizer and without the scheme's own"


def _model_parameters(path: Path) -> int:
    import torch

    from lengthgen import typed
    from lengthgen.model import ModelConfig, Transformer, parameter_counts
    from lengthgen.schemes.base import Dimensions, Scheme

    options = OmegaConf.to_container(OmegaConf.load(path))
    options.pop("name", None)
    config = typed.build(ModelConfig, options, "model")
    dimensions = Dimensions(config.n_layers, config.n_heads, config.width // config.n_heads, config.width, TRAIN_LENGTH)
    with torch.device("meta"):  # shapes only
        model = Transformer(config, Scheme(None, dimensions), vocab_size=257)
    return parameter_counts(model)["total"]


def run_table(results: Path) -> str:
    """Each run under `results`: what it is and how far it came."""
    rows = []
    for run in records.runs(results):
        config = run.config
        names = [str(config.get(group, {}).get("name", "?")) for group in ("scheme", "dataset", "model")]
        numbers = [str(config.get(key, "?")) for key in ("train_length", "steps", "seed")]
        rows.append((run.name, *names, *numbers, run.status, str(len(run.evaluations))))
    if not rows:
        return f"no runs in {results / 'runs'}; `lengthgen train` makes one"
    return aligned(("run", "scheme", "dataset", "model", "train_length", "steps", "seed", "status", "evaluations"), rows)


def command_help(command: str, config_dir: Path | None = None) -> str:
    """`lengthgen train --help`: flags, groups with their options, keys with defaults and meaning, from the YAML itself."""
    where = catalogue.folders(config_dir)
    groups, keys = catalogue.groups(command), catalogue.keys(command)
    chosen = [(f"{g.name}={g.value}", _meaning_and_options(g, where)) for g in groups]
    flags = [(", ".join(filter(None, (flag.name, flag.short))), flag.meaning) for flag in arguments.FLAGS]
    sections = [
        (f"Groups: `{groups[0].name}=option` (a + before it changes nothing); keys of an option: `{groups[0].name}.key=value`", chosen),
        ("Keys: `key=value`", [(f"{key.name}={key.value}", key.comment) for key in keys]),
        ("Flags, in any place", flags),
    ]
    left = 2 + max(len(name) for _, rows in sections for name, _ in rows)
    parts = [f"Usage: lengthgen {command} [flags] [group=option] [key=value] ...", f"Examples\n{EXAMPLES[command]}"]
    parts += ["\n".join([title, *(_described(name, text, left) for name, text in rows)]) for title, rows in sections]
    parts.append(f"`lengthgen {command} --cfg job` prints every key of the chosen options with its value.")
    return "\n\n".join(parts)


EXAMPLES = {
    "train": """\
  lengthgen train +scheme=t5_bias
  lengthgen train scheme=alibi train_length=1024 steps=1000 model=small
  lengthgen train scheme=t5_bias scheme.num_buckets=64 evaluation.lengths=[512,1024,8192]
  lengthgen train -m +scheme=learned,t5_bias,alibi seed=0,1,2
  lengthgen train --config-dir mine +scheme=my_bias""",
    "evaluate": """\
  lengthgen evaluate run=<id> evaluation.lengths=[512,1024,8192]
  lengthgen evaluate run=results/runs/<id> evaluation=quick
  lengthgen list runs""",
}


def _meaning_and_options(group: catalogue.Key, where: Sequence[Path]) -> str:
    options = catalogue.options(group.name, where)
    return f"{group.comment}: {', '.join(options)}" if options else group.comment


def _described(name: str, text: str, left: int) -> str:
    lines = textwrap.wrap(text, WIDTH - left - 2) or [""]
    return "\n".join([f"  {name:<{left}}{lines[0]}", *(" " * (left + 2) + line for line in lines[1:])]).rstrip()


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]], wrapped: Mapping[int, int] | None = None) -> str:
    """Columns of text under their heads. `wrapped`: column -> its greatest width; the last column takes what WIDTH leaves."""
    wrapped = dict(wrapped or {})
    last = len(head) - 1
    others = [min(wrapped.get(column, WIDTH), max(len(row[column]) for row in [head, *rows])) for column in range(last)]
    wrapped[last] = max(20, WIDTH - sum(others) - 2 * last)
    table = [[textwrap.wrap(cell, wrapped[i]) or [""] if i in wrapped else [cell] for i, cell in enumerate(row)] for row in [head, *rows]]
    widths = [max(len(line) for row in table for line in row[column]) for column in range(len(head))]
    lines = []
    for number, row in enumerate(table):
        for part in range(max(len(cell) for cell in row)):
            texts = [cell[part] if part < len(cell) else "" for cell in row]
            lines.append("  ".join(text.ljust(width) for text, width in zip(texts, widths, strict=True)).rstrip())
        if number == 0:
            lines.append("  ".join("-" * width for width in widths))
    return "\n".join(lines)
