"""`lengthgen decide run=ID`: how to read longer input, in one table and one sentence.

lengthgen decide run=ID                                  every retrofit that the run was evaluated with
lengthgen decide run=ROPE run=ALIBI run=T5               those of several runs, on the same targets
lengthgen decide run=ID --lengths 2048,8192 --latency 20 --memory 2
lengthgen decide run=ID --cause                          and what the loss past the training length is due to
"""  # noqa: E501

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lengthgen.config import command_line, paths
from lengthgen.errors import ConfigError
from lengthgen.terminal.progress import each

if TYPE_CHECKING:
    from lengthgen.studies.losses import Material

MOST_LENGTHS = 8


def main(argv: Sequence[str]) -> int:
    """Measure what each way of reading costs, write the table, and print it."""
    options = parser().parse_args(list(argv))
    from lengthgen.runs import process

    process.prepare_environment()  # before the import of torch
    process.prepare_torch(options.threads)
    from lengthgen.decisions import cause, subjects, table, writing
    from lengthgen.runs import provenance
    from lengthgen.runs.folder import find

    results = paths.folder(options.results, "--results")
    runs = [find(results, name.removeprefix("run=")).path for name in options.run]
    material = subjects.subjects(runs, options.evaluation)
    lengths = _lengths(material, options.lengths)
    causes = cause.causes(material) if options.cause else []
    costs, device = _costs(material, lengths, options)
    memory = None if options.memory is None else options.memory * 1024
    budget = table.Budget(options.latency, memory)
    rows = table.rows(material, costs, budget)
    sentence = table.recommendation(material, rows, budget)
    facts = provenance.describe(device)
    about = {key: facts[key] for key in ("command", "commit", "device", "threads", "load")}
    names = ", ".join(run.name for run in runs)
    given = {"run": names, "budget": str(budget), "rounds": options.rounds}
    folder = results / "decisions" / _name(runs)
    writing.write(folder, rows, sentence, causes, given | about)
    print("\n".join([writing.terminal(rows), "", sentence, *map(str, causes), str(folder)]))
    return 0


def _name(runs: Sequence[Path]) -> str:
    """Of the decision's folder: the first run, and a hash of the others."""
    first, *others = [run.name for run in runs]
    if not others:
        return first
    of_others = hashlib.sha256(" ".join(sorted(others)).encode()).hexdigest()[:8]
    return f"{first}-and-{len(others)}-{of_others}"


def _lengths(material: "Material", asked: list[int] | None) -> list[int]:
    """Those asked for, else the training length and all beyond it that have matched losses."""
    arms = material.subjects.values()
    evaluated = next(iter(arms)).evaluations[0]
    known = [
        length
        for length in evaluated.lengths("matched")
        if all(length in arm.evaluations[0].lengths("matched") for arm in arms)
    ]
    if not known:
        raise ConfigError(
            "the runs have no evaluated length in common; give all the same evaluation.lengths"
        )
    if asked is None:
        return [length for length in known if length >= evaluated.train_length][-MOST_LENGTHS:]
    if unknown := sorted(set(asked) - set(known)):
        raise ConfigError(
            f"--lengths {','.join(map(str, unknown))}: not evaluated; expected some of "
            f"{', '.join(map(str, known))}"
        )
    return sorted(set(asked))


def _costs(material: "Material", lengths: Sequence[int], options: argparse.Namespace) -> Any:
    """(length -> subject -> Cost, device)"""
    from lengthgen.decisions import costs
    from lengthgen.runs import pretrained, stored

    models, splits = {}, None
    for name, subject in material.subjects.items():
        evaluation = subject.evaluations[0]
        load: Any = stored.evaluated_model
        if "pretrained" in evaluation.config:
            load = pretrained.evaluated_model
        models[name], splits = load(Path(evaluation.folder))
    assert splits is not None
    device = next(iter(models.values())).embedding.weight.device
    found = {}
    for length in each("lengths", lengths, len(lengths)):
        tokens = splits.validation.tokens(0, length)[None].to(device)
        found[length] = costs.measure(models, tokens, options.rounds, options.new)
    return found, device


def parser() -> argparse.ArgumentParser:
    """Of `lengthgen decide`; completion reads its flags."""
    description = "How to read longer input with a model: loss, latency and memory in one table."
    made = command_line.Parser(prog="lengthgen decide", description=description)
    add = made.add_argument
    words = "runs with evaluations, the one to change first: an id, a part of it, or a folder"
    add("run", nargs="+", metavar="run=ID", help=words)
    words = "evaluated lengths (default: the training length and all beyond it)"
    add("--lengths", type=_numbers, metavar="N,N", help=words)
    words = "the most milliseconds that a decoded token may take"
    add("--latency", type=_positive, metavar="MS", help=words)
    words = "the most GiB that weights and cache may take"
    add("--memory", type=_positive, metavar="GIB", help=words)
    words = "settings whose evaluations are compared (default: those with the most retrofits)"
    add("--evaluation", metavar="ID", help=words)
    words = "of a rotary model: whether what is lost past the training length is due to positions "
    words += "or to attention over more keys (needs four more evaluations)"
    add("--cause", action="store_true", help=words)
    add("--rounds", type=_count, default=5, metavar="N", help="rounds of timing (default: 5)")
    add("--new", type=_count, default=16, metavar="N", help="tokens decoded in each (default: 16)")
    add("--threads", type=_count, metavar="N", help="CPU threads (default: torch's own choice)")
    add("--results", default="results", metavar="FOLDER", help="folder of runs (default: results)")
    return made


def _numbers(text: str) -> list[int]:
    return [_count(part) for part in text.split(",")]


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 2**24:
        raise argparse.ArgumentTypeError(f"{text[:40]!r}: expected a whole number, 1 or more")
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e12:
        raise argparse.ArgumentTypeError(f"{text[:40]!r}: expected a number above 0")
    return value
