"""`lengthgen export`: a finished run for other programs.

lengthgen export run=ID --to hf FOLDER             a model of transformers: config, weights, tokenizer, card
lengthgen export run=ID --to lm-eval FILE.json     its losses as results of lm-evaluation-harness
lengthgen export run=ID +retrofit=yarn retrofit.factor=4 --to hf FOLDER    under a retrofit
"""  # noqa: E501

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lengthgen.config import catalogue, command_line, paths
from lengthgen.config.nearest import nearest
from lengthgen.errors import ConfigError
from lengthgen.terminal.progress import waiting

if TYPE_CHECKING:
    from lengthgen.runs.folder import RunFolder

KINDS = ("hf", "lm-eval")
RETROFIT = "retrofit"


def main(argv: Sequence[str]) -> int:
    """Export one run. Prints what was written and what to know of it."""
    options = _parser().parse_intermixed_args(list(argv))
    name, options.retrofit = _words(options.run)
    kind, place = options.to
    if kind not in KINDS:
        raise ConfigError(f"--to {kind}: expected one of {', '.join(KINDS)}")
    from lengthgen.runs.process import prepare_environment

    prepare_environment()  # before the import of torch
    from lengthgen.runs import folder

    run = folder.find(paths.folder(options.results, "--results"), name)
    where = paths.folder(place, f"--to {kind}")
    write = {"hf": _model, "lm-eval": _results}[kind]
    with waiting("exporting"):
        lines = write(run, where, options)
    print("\n".join(lines))
    return 0


def _model(run: "RunFolder", where: Path, options: argparse.Namespace) -> list[str]:
    from lengthgen.exporting import finished, model_folder, needed, target

    # Before the run is loaded, which may take a while.
    target.check(where, options.overwrite)
    needed.transformers()
    request = model_folder.Request(
        options.own_code, options.max_length, options.overwrite, options.evaluation
    )
    return model_folder.write(
        finished.load(run, options.trust_code, options.retrofit), where, request
    )


def _results(run: "RunFolder", where: Path, options: argparse.Namespace) -> list[str]:
    from lengthgen.exporting import lm_eval_results

    for flag, given in {"--own-code": options.own_code, "--max-length": options.max_length}.items():
        if given:
            raise ConfigError(f"{flag} is for --to hf")
    chosen = options.evaluation, options.overwrite, options.retrofit
    return lm_eval_results.write(run, where, *chosen)


def _words(words: Sequence[str]) -> tuple[str, dict[str, Any] | None]:
    """(ID, the retrofit's name and options) of `run=ID` or `ID` and `retrofit=NAME ...`."""
    given: dict[str, str] = {}
    for word in words:
        key, equals, value = word.lstrip("+").partition("=")
        key, value = (key, value) if equals else ("run", key)
        if key in given or (key not in ("run", RETROFIT) and not key.startswith(f"{RETROFIT}.")):
            expected = f"run=ID, {RETROFIT}=NAME or {RETROFIT}.KEY=VALUE, each once"
            raise ConfigError(f"{word}: expected {expected}")
        given[key] = value
    if not given.get("run"):
        raise ConfigError("export which run? expected run=ID; `lengthgen list runs` shows all")
    return given.pop("run"), _retrofit(given)


def _retrofit(given: Mapping[str, str]) -> dict[str, Any] | None:
    """Its YAML file's options, with those given. ConfigError for one that is not there."""
    import yaml

    if not given:
        return None
    known = catalogue.files(RETROFIT, catalogue.folders())
    name = given.get(RETROFIT, "")
    if name not in known:
        near = nearest(name, known)
        expected = f"nearest: {', '.join(near)}" if near else "`lengthgen list retrofits` shows all"
        raise ConfigError(f"no {RETROFIT} {name!r}; {expected}")
    options = catalogue.contents(known[name], catalogue.folders())
    for key, text in given.items():
        if key == RETROFIT:
            continue
        try:
            options[key.removeprefix(f"{RETROFIT}.")] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ConfigError(f"{key}={text}: expected a value as YAML has it") from None
    return options


def _parser() -> argparse.ArgumentParser:
    description = "A finished run for other programs: a model folder, or results of lm-eval."
    parser = command_line.Parser(prog="lengthgen export", description=description)
    add = parser.add_argument
    words = "its id, any part of the id that no other run has, or the path of its folder; then a"
    words += " retrofit, as for evaluate: +retrofit=yarn retrofit.factor=4"
    add("run", nargs="*", metavar="run=ID", help=words)
    words = "hf FOLDER: config, weights, tokenizer and card for transformers; lm-eval FILE.json"
    add("--to", nargs=2, required=True, metavar=("KIND", "PLACE"), help=words)
    words = "hf: where no class of transformers has the scheme, lengthgen's own code"
    add("--own-code", action="store_true", help=f"{words} (loads with trust_remote_code=True)")
    words = "hf: the longest input, where the class has one (default: the training length)"
    add("--max-length", type=_length, metavar="N", help=words)
    words = "the evaluation that is reported (default: that of the run's own command)"
    add("--evaluation", metavar="ID", help=words)
    add("--overwrite", action="store_true", help="replace an earlier export")
    words = "run the code that the run's folder keeps, where it was trained with somebody's own"
    add("--trust-code", action="store_true", help=words)
    words = "folder with the runs (default: results)"
    add("--results", default="results", metavar="FOLDER", help=words)
    return parser


def candidates(words: Sequence[str], word: str) -> list[str]:
    """Completions of the last `word` of a `lengthgen export` line, after `words`."""
    if word.startswith("-"):
        offered = [f"{flag} " for flag in _parser()._option_string_actions if flag[:2] == "--"]
    elif words and words[-1] == "--to":
        offered = [f"{kind} " for kind in KINDS]
    elif word.lstrip("+").startswith(f"{RETROFIT}="):
        plus = word[: len(word) - len(word.lstrip("+"))]
        names = catalogue.options(RETROFIT, catalogue.folders())
        offered = [f"{plus}{RETROFIT}={name} " for name in names]
    else:
        offered = ["run=", f"+{RETROFIT}="]
    return [text for text in offered if text.startswith(word)]


def _length(text: str) -> int:
    if not text.isdecimal() or not 2 <= int(text) <= 2**24:
        raise argparse.ArgumentTypeError(f"{text[:40]!r}: expected a whole number of tokens")
    return int(text)
