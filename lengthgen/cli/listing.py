"""`lengthgen list TOPIC`, and the help of `lengthgen train` and `evaluate`: tables for the terminal.

Everything is read from the folders and from what schemes, modifiers and retrofits declare (declared.py); nothing is listed by hand.
torch is imported only to count parameters.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from lengthgen.cli import scheme_tables
from lengthgen.config import catalogue, command_line
from lengthgen.config.nearest import nearest
from lengthgen.errors import ConfigError
from lengthgen.evaluation import records
from lengthgen.reporting.text_tables import WIDTH, aligned

TOPICS = ("schemes", "modifiers", "retrofits", "datasets", "models", "studies", "runs")


def main(argv: Sequence[str]) -> int:
    """Print one list. ConfigError for an unknown topic or flag."""
    parser = command_line.Parser(
        prog="lengthgen list", description=f"What there is: {', '.join(TOPICS)}."
    )
    parser.add_argument("topic", metavar="|".join(TOPICS))
    parser.add_argument(
        "--config-dir",
        metavar="DIR",
        help="your own configurations and schemes beside the package's",
    )
    parser.add_argument(
        "--results",
        metavar="FOLDER",
        default="results",
        help="folder whose runs are listed (default: results)",
    )
    given = parser.parse_args(list(argv) or [""])
    if given.topic not in TOPICS:
        near = nearest(given.topic, TOPICS)
        what = f"no list of {given.topic!r}" if given.topic else "list what?"
        raise ConfigError(
            f"{what}; {'nearest' if near else 'expected one of'}: {', '.join(near or TOPICS)}"
        )
    config_dir = command_line.existing_folder(given.config_dir) if given.config_dir else None
    where = catalogue.folders(config_dir)
    listed = {
        "schemes": lambda: scheme_tables.scheme_table(where),
        "modifiers": lambda: scheme_tables.modifier_table(where),
        "retrofits": lambda: scheme_tables.retrofit_table(where),
        "datasets": lambda: dataset_table(where),
        "models": lambda: model_table(where),
        "studies": lambda: study_table(where, Path(given.results)),
        "runs": lambda: run_table(Path(given.results)),
    }
    print(listed[given.topic]())
    return 0


def dataset_table(where: Sequence[Path]) -> str:
    """Each option of dataset= and what it is."""
    rows = [
        (name, catalogue.meaning(path))
        for name, path in sorted(catalogue.files("dataset", where).items())
    ]
    return aligned(("dataset", "what it is"), rows)


def study_table(where: Sequence[Path], results: Path) -> str:
    """Each study, what it asks, and the verdict that `results` holds, if it holds one."""
    from lengthgen.studies import report, study_folder

    rows = []
    for name, path in sorted(catalogue.files("study", where).items()):
        claims = study_folder.read(results / report.STUDIES / name / "claims.csv")
        rows.append((name, report.word(claims) if claims else "not run", catalogue.meaning(path)))
    return aligned(("study", "verdict", "what it asks"), rows)


def model_table(where: Sequence[Path]) -> str:
    """Each option of model= with its shape and number of parameters (byte vocabulary, no positional ones)."""
    rows = []
    for name, path in catalogue.files("model", where).items():
        shape = OmegaConf.load(path)
        rows.append(
            (
                name,
                _model_parameters(path),
                shape.n_layers,
                shape.n_heads,
                shape.width,
                catalogue.meaning(path),
            )
        )
    rows.sort(key=lambda row: row[1])
    cells = [(name, f"{count:,}", *map(str, shape), what) for name, count, *shape, what in rows]
    head = ("model", "parameters", "n_layers", "n_heads", "width", "what it is")
    return (
        aligned(head, cells) + "\nparameters: with the byte tokenizer and without the scheme's own"
    )


def _model_parameters(path: Path) -> int:
    import torch

    from lengthgen.config import dataclass_from
    from lengthgen.model import ModelConfig, Transformer, parameter_counts
    from lengthgen.schemes.base import Dimensions, Scheme

    options = OmegaConf.to_container(OmegaConf.load(path))
    options.pop("name", None)
    config = dataclass_from.build(ModelConfig, options, "model")
    dimensions = Dimensions(
        config.n_layers,
        config.n_heads,
        config.width // config.n_heads,
        config.width,
        scheme_tables.TRAIN_LENGTH,
    )
    with torch.device("meta"):  # shapes only
        model = Transformer(config, Scheme(None, dimensions), vocab_size=257)
    return parameter_counts(model)["total"]


def run_table(results: Path) -> str:
    """Each run under `results`: what it is and how far it came."""
    rows = []
    for run in records.runs(results):
        config = run.config
        names = [
            str(config.get(group, {}).get("name", "?")) for group in ("scheme", "dataset", "model")
        ]
        names[0] = "+".join([names[0], *(config.get("modifiers") or {})])
        numbers = [str(config.get(key, "?")) for key in ("train_length", "steps", "seed")]
        rows.append((run.name, *names, *numbers, run.status, str(len(run.evaluations))))
    if not rows:
        return f"no runs in {results / 'runs'}; `lengthgen train` makes one"
    return aligned(
        (
            "run",
            "scheme",
            "dataset",
            "model",
            "train_length",
            "steps",
            "seed",
            "status",
            "evaluations",
        ),
        rows,
    )


def command_help(command: str, config_dir: Path | None = None) -> str:
    """`lengthgen train --help`: flags, groups with their options, keys with defaults and meaning, from the YAML itself."""
    where = catalogue.folders(config_dir)
    groups, keys = catalogue.groups(command), catalogue.keys(command)
    chosen = [(f"{g.name}={g.value}", _meaning_and_options(g, where)) for g in groups]
    flags = [
        (", ".join(filter(None, (flag.name, flag.short))), flag.meaning)
        for flag in command_line.FLAGS
    ]
    sections = [
        (
            f"Groups: `{groups[0].name}=option` (a + before it changes nothing); keys of an option: `{groups[0].name}.key=value`",
            chosen,
        ),
        ("Keys: `key=value`", [(f"{key.name}={key.value}", key.comment) for key in keys]),
        ("Flags, in any place", flags),
    ]
    left = 2 + max(len(name) for _, rows in sections for name, _ in rows)
    parts = [
        f"Usage: lengthgen {command} [flags] [group=option] [key=value] ...",
        f"Examples\n{EXAMPLES[command]}",
    ]
    parts += [
        "\n".join([title, *(_described(name, text, left) for name, text in rows)])
        for title, rows in sections
    ]
    parts.append(
        f"`lengthgen {command} --cfg job` prints every key of the chosen options with its value."
    )
    return "\n\n".join(parts)


EXAMPLES = {
    "train": """\
  lengthgen train +scheme=t5_bias
  lengthgen train scheme=alibi train_length=1024 steps=1000 model=small
  lengthgen train scheme=t5_bias scheme.num_buckets=64 evaluation.lengths=[512,1024,8192]
  lengthgen train -m +scheme=learned,t5_bias,alibi seed=0,1,2
  lengthgen train scheme=rope +modifier=[window,ssmax] modifiers.window.window=128
  lengthgen train --config-dir mine +scheme=my_bias""",
    "evaluate": """\
  lengthgen evaluate run=<id> evaluation.lengths=[512,1024,8192]
  lengthgen evaluate run=results/runs/<id> evaluation=quick
  lengthgen evaluate run=<id> +retrofit=yarn retrofit.factor=4
  lengthgen evaluate -m run=<id> +retrofit=none,position_interpolation,yarn
  lengthgen list runs""",
}


def _meaning_and_options(group: catalogue.Key, where: Sequence[Path]) -> str:
    options = catalogue.options(group.name, where)
    return f"{group.comment}: {', '.join(options)}" if options else group.comment


def _described(name: str, text: str, left: int) -> str:
    lines = textwrap.wrap(text, WIDTH - left - 2) or [""]
    return "\n".join(
        [f"  {name:<{left}}{lines[0]}", *(" " * (left + 2) + line for line in lines[1:])]
    ).rstrip()
