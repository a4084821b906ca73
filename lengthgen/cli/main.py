"""The command line: `lengthgen <command> ...`. Imports torch and Hydra where a command needs them.

A command is a function from its arguments to an exit code. What a user can mend is one line on
stderr and an exit code of errors.py; anything else is a fault of lengthgen, with its traceback.
"""

import os
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from lengthgen import __version__
from lengthgen.config import catalogue, command_line, output
from lengthgen.config.nearest import nearest
from lengthgen.errors import ConfigError, UserError
from lengthgen.runs import stopping
from lengthgen.training import world

# Command -> what it does.
EXAMPLES = {
    "lengthgen train +scheme=t5_bias": "train at 512, evaluate to 4 times that, draw the curves",
    "lengthgen train scheme=alibi train_length=1024 steps=1000": "any key of the configuration",
    "lengthgen train -m +scheme=learned,t5_bias,alibi seed=0,1,2": "a sweep; rerun it to resume",
    "lengthgen train scheme=rope --cfg job --resolve": "print the configuration and stop",
    "lengthgen evaluate run=<id> evaluation.lengths=[512,4096]": "the same weights, other lengths",
    "lengthgen evaluate --where scheme=rope +retrofit=yarn": "every run that fits, all seeds",
    "lengthgen evaluate run=<id> +retrofit=yarn": "the same weights, changed for longer inputs",
    "lengthgen compare --where scheme=rope,alibi": "scheme x length in one table; --json --latex",
    "lengthgen evaluate model=hf:FOLDER +retrofit=yarn": "a pretrained model, on your text",
    "lengthgen decide run=<id> --latency 20": "which of the evaluated retrofits to choose",
    "lengthgen export run=<id> --to hf FOLDER": "a model that transformers loads, with its curves",
    "lengthgen study learned_absolute_fails": "the runs of a declared claim, and its verdict",
    "lengthgen plot": "every figure again, from the tables in results/",
    "lengthgen report": "one HTML page of all that results/ holds",
    "lengthgen list schemes": "each scheme, in a line",
    'eval "$(lengthgen completion bash)"': "tab completion in this shell",
}


@dataclass(frozen=True)
class Command:
    name: str
    meaning: str
    module: str  # whose main(argv) it is, imported when it is called


COMMANDS = (
    Command("train", "train a model, evaluate it past its training length, draw figures", ""),
    Command("evaluate", "evaluate a run again, or a pretrained model: lengths, retrofits", ""),
    Command("compare", "runs side by side: losses, changes past training, words", "cli.compare"),
    Command("decide", "loss, latency, memory: which retrofit of a run to choose", "cli.decide"),
    Command("export", "a trained run for transformers or lm-eval", "cli.export"),
    Command("study", "make the runs that a declared claim needs, and judge it", "cli.study"),
    Command("plot", "draw every figure again from the tables in results/", "cli.plot"),
    Command("report", "one HTML page of all results: curves, tables, studies", "cli.report"),
    Command("dashboard", "a W&B workspace of length curves, words, figures", "cli.dashboard"),
    Command(
        "bench", "train | evaluate | attention | memory | marks: speed and memory", "bench.command"
    ),
    Command(
        "list",
        "schemes | modifiers | retrofits | datasets | models | studies | runs",
        "cli.listing",
    ),
    Command("completion", "bash | zsh: print a script for tab completion", ""),
)


def _call(command: Command, argv: list[str]) -> int:
    if command.module:
        return import_module(f"lengthgen.{command.module}").main(argv)
    if command.name == "completion":
        from lengthgen.cli import completion

        return completion.main(argv, [command.name for command in COMMANDS])
    from lengthgen.cli import where_words

    _, words = where_words.split(command.name, argv)
    line, name = command_line.arrange(words, ()), command_line.configuration(command.name, words)
    if "--help" in line.flag_names:
        from lengthgen.cli import listing

        print(listing.command_help(name, line.config_dir))
        return 0
    from lengthgen.cli import jobs

    return jobs.main(name, argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. argv: without the program; None: the process's."""
    if argv is None:
        sys.excepthook = output.print_traceback
    argv = list(sys.argv[1:] if argv is None else argv)
    with output.without_secrets():
        return _exit_code(argv)


def _exit_code(argv: list[str]) -> int:
    try:
        with stopping.watched():
            code = _dispatch(argv)
        sys.stdout.flush()  # here, where a closed pipe can still be caught
        return code
    except UserError as error:
        if world.prints(error):
            print(f"lengthgen: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("lengthgen: interrupted; rerun the same command to resume", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `lengthgen list schemes | head`: the reader has enough, no fault
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(help_text())
        return 0
    if argv[0] in ("-V", "--version"):
        print(f"lengthgen {__version__}")
        return 0
    if argv[0] != "train":
        world.refuse_several(f"lengthgen {argv[0]}")
    for command in COMMANDS:
        if command.name == argv[0]:
            return _call(command, argv[1:])
    names = [command.name for command in COMMANDS]
    near = nearest(argv[0], names)
    expected = f"nearest: {', '.join(near)}" if near else f"expected one of: {', '.join(names)}"
    raise ConfigError(f"no command {argv[0]!r}; {expected}; `lengthgen --help` shows all")


def help_text() -> str:
    """What `lengthgen --help` prints; its schemes are names of YAML files: nothing is imported."""
    commands = "\n".join(f"  {command.name:<11} {command.meaning}" for command in COMMANDS)
    examples = "\n".join(f"  {words:<60} {meaning}" for words, meaning in EXAMPLES.items())
    names = ", ".join(catalogue.options("scheme", catalogue.folders()))
    schemes = textwrap.fill(names, width=118, initial_indent="  ", subsequent_indent="  ")
    return (
        "lengthgen: which positional scheme holds up on sequences longer than it was trained on?"
        f"\n\nUsage: lengthgen <command> ...\n\nCommands\n{commands}\n\nExamples\n{examples}\n\n"
        f"Schemes\n{schemes}\n\n`lengthgen train --help` lists every option."
    )


if __name__ == "__main__":
    sys.exit(main())
