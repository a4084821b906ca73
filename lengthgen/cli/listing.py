"""`lengthgen list TOPIC`, and the help of `train` and `evaluate`: tables for the terminal.

Everything is read from the folders and from what schemes, modifiers and retrofits declare; nothing
is listed by hand. torch is imported only to count parameters.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from lengthgen import modifiers, retrofits, schemes
from lengthgen.cli import run_table, scheme_families, scheme_tables, where_words
from lengthgen.config import catalogue, command_line, messages, paths
from lengthgen.config.nearest import nearest
from lengthgen.errors import ConfigError
from lengthgen.evaluation import selection
from lengthgen.reporting.text_tables import WIDTH, aligned

TOPICS = ("schemes", "modifiers", "retrofits", "datasets", "models", "studies", "runs")


def main(argv: Sequence[str]) -> int:
    """Print one list. ConfigError for an unknown topic or flag."""
    options = parser().parse_args(list(argv) or [""])
    topic, results = options.topic, paths.folder(options.results, "--results")
    if topic not in TOPICS:
        near = nearest(topic, TOPICS)
        problem = f"no list of {topic!r}" if topic else "list what?"
        hint = "nearest" if near else "expected one of"
        raise ConfigError(f"{problem}; {hint}: {', '.join(near or TOPICS)}")
    if options.where and topic != "runs":
        raise ConfigError(f"list {topic} --where: expected list runs --where KEY=VALUE ...")
    config_dir = command_line.existing_folder(options.config_dir) if options.config_dir else None
    if options.table and topic != "schemes":
        raise ConfigError(f"list {topic} --table: expected list schemes --table")
    if options.names:
        print(_pages(topic, options.names, catalogue.folders(config_dir)))
        return 0
    if options.profile:
        if topic != "datasets":
            raise ConfigError(f"list {topic} --profile: expected list datasets --profile NAME ...")
        from lengthgen.cli import profiles

        print(profiles.table(options.profile, config_dir))
        return 0
    where = catalogue.folders(config_dir)
    tables = {
        "schemes": lambda: (
            scheme_tables.scheme_table(where) if options.table else scheme_families.table(where)
        ),
        "modifiers": lambda: scheme_tables.modifier_table(where),
        "retrofits": lambda: scheme_tables.retrofit_table(where),
        "datasets": lambda: dataset_table(where),
        "models": lambda: model_table(where),
        "studies": lambda: study_table(where, results),
        "runs": lambda: run_table.table(results, selection.where(options.where)),
    }
    print(tables[topic]())
    return 0


def _pages(topic: str, names: Sequence[str], where: Sequence[Path]) -> str:
    packages = {"schemes": schemes, "modifiers": modifiers, "retrofits": retrofits}
    if topic not in packages:
        raise ConfigError(f"list {topic} {names[0]}: expected names of {', '.join(packages)} alone")
    return "\n\n".join(scheme_families.page(packages[topic], name, where) for name in names)


def parser() -> command_line.Parser:
    """Of `lengthgen list`; completion reads its flags."""
    description = f"What there is: {', '.join(TOPICS)}."
    made = command_line.Parser(prog="lengthgen list", description=description)
    add = made.add_argument
    add("topic", metavar="|".join(TOPICS))
    words = "schemes, modifiers, retrofits: these alone, with all that their files say"
    add("names", metavar="NAME", nargs="*", help=words)
    words = "schemes: all that they declare, side by side"
    add("--table", action="store_true", help=words)
    words = "your configurations and schemes beside the package's"
    add("--config-dir", metavar="DIR", help=words)
    words = "folder whose runs are listed (default: results)"
    add("--results", metavar="FOLDER", default="results", help=words)
    words = f"runs: those to list: {selection.HELP}"
    add("--where", metavar="KEY=VALUE", nargs="+", action="extend", default=[], help=words)
    words = "datasets: what the last k tokens are worth, for each NAME (then KEY=VALUE for all)"
    add("--profile", metavar="NAME", nargs="+", help=words)
    return made


def dataset_table(where: Sequence[Path]) -> str:
    """Each option of dataset= and what it is."""
    paths = sorted(catalogue.files("dataset", where).items())
    rows = [(name, catalogue.meaning(path)) for name, path in paths]
    return aligned(("dataset", "what it is"), rows)


def study_table(where: Sequence[Path], results: Path) -> str:
    """Each study, its question, its registration and the verdict that `results` holds."""
    from lengthgen.studies import declaration, registration, report, study_folder, verdict_tables

    rows = []
    for name, path in sorted(catalogue.files("study", where).items()):
        study = declaration.read(path)
        hashed = registration.digest(study, study.scale(None)[1])
        state = registration.state(registration.read(results, name), name, hashed)
        claims = study_folder.read(results / report.STUDIES / name / "claims.csv")
        verdict = verdict_tables.word(claims) if claims else "not run"
        rows.append((name, verdict, state, catalogue.meaning(path)))
    return aligned(("study", "verdict", "registration", "what it asks"), rows)


def model_table(where: Sequence[Path]) -> str:
    """Each option of model= with its shape and parameters (byte vocabulary, no positional ones)."""
    head = ("model", "parameters", "n_layers", "n_heads", "width", "what it is")
    paths = catalogue.files("model", where)
    counts = {name: _model_parameters(path) for name, path in paths.items()}
    rows = []
    for name in sorted(paths, key=lambda name: counts[name]):
        options = catalogue.contents(paths[name], where)
        shape = [str(options[key]) for key in head[2:5]]
        rows.append((name, f"{counts[name]:,}", *shape, catalogue.meaning(paths[name])))
    note = "parameters: with the byte tokenizer and without the scheme's own"
    return f"{aligned(head, rows)}\n{note}"


def _model_parameters(path: Path) -> int:
    import torch

    from lengthgen.config import dataclass_from
    from lengthgen.model import ModelConfig, Transformer, parameter_counts
    from lengthgen.schemes.base import Scheme

    options = catalogue.contents(path, [path.parent.parent])
    options.pop("name", None)
    config = dataclass_from.build(ModelConfig, options, "model")
    with torch.device("meta"):  # shapes only
        scheme = Scheme(None, scheme_tables.dimensions(config))
        model = Transformer(config, scheme, vocab_size=257)
    return parameter_counts(model)["total"]


def command_help(command: str, config_dir: Path | None = None) -> str:
    """`lengthgen train --help`: flags, groups with options, keys with defaults, from the YAML."""
    where, called = catalogue.folders(config_dir), messages.CALLED.get(command, command)
    groups = catalogue.groups(command)
    sections = {
        f"Groups: `{groups[0].name}=option` (a + before it changes nothing); "
        f"keys of an option: `{groups[0].name}.key=value`": [
            (f"{group.name}={group.value}", _meaning_and_options(group, where)) for group in groups
        ],
        "Keys: `key=value`": [
            (f"{key.name}={key.value}", key.comment) for key in catalogue.keys(command)
        ],
        "Flags, in any place": [
            (", ".join(filter(None, (flag.name, flag.short))), flag.meaning)
            for flag in (
                *command_line.FLAGS,
                *([where_words.FLAG] if command == "evaluate" else []),
            )
        ],
    }
    left = 2 + max(len(name) for rows in sections.values() for name, _ in rows)
    parts = [
        f"Usage: lengthgen {called} [flags] [group=option] [key=value] ...",
        f"Examples\n{EXAMPLES[command]}",
    ]
    for title, rows in sections.items():
        parts.append("\n".join([title, *(_described(name, text, left) for name, text in rows)]))
    parts.append(
        f"`lengthgen {called} --cfg job` prints every key of the chosen options with its value."
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
    "pretrained": """\
  lengthgen evaluate model=hf:FOLDER dataset=files dataset.path=TEXT
  lengthgen evaluate model=hf:OWNER/NAME evaluation.lengths=[2048,8192,16384] +retrofit=yarn
  lengthgen evaluate -m model=hf:smollm2 +retrofit=none,ntk,yarn dataset=files dataset.path=TEXT
  lengthgen list runs""",
    "evaluate": """\
  lengthgen evaluate run=<id> evaluation.lengths=[512,1024,8192]
  lengthgen evaluate run=results/runs/<id> evaluation=quick
  lengthgen evaluate run=<id> +retrofit=yarn retrofit.factor=4
  lengthgen evaluate --where scheme=rope seed=0,1 +retrofit=yarn
  lengthgen evaluate 'run=rope-*' evaluation.lengths=[512,4096]
  lengthgen evaluate -m run=<id> +retrofit=none,position_interpolation,yarn
  lengthgen evaluate model=hf:FOLDER --help
  lengthgen list runs""",
}


def _meaning_and_options(group: catalogue.Key, where: Sequence[Path]) -> str:
    options = catalogue.options(group.name, where)
    return f"{group.comment}: {', '.join(options)}" if options else group.comment


def _described(name: str, text: str, left: int) -> str:
    wrapped = textwrap.fill(
        text, WIDTH - 2, initial_indent=" " * left, subsequent_indent=" " * left
    )
    return f"  {name:<{left}}{textwrap.indent(wrapped, '  ')[left + 2 :]}".rstrip()
