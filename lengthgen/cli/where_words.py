"""The words after `--where` on a line that Hydra reads: told from its overrides, no Hydra here."""

from collections.abc import Sequence

from lengthgen.config import catalogue
from lengthgen.config.command_line import FLAGS, Flag
from lengthgen.errors import ConfigError
from lengthgen.evaluation import records

COMMAND = "evaluate"
FLAG = Flag(
    "--where",
    "",
    "KEY=VALUE ...: all finished runs that fit, a job each, in place of run=ID; "
    "the words of `lengthgen compare`",
    (),
)


def flags_of(command: str) -> tuple[Flag, ...]:
    """The flags of train, or of evaluate."""
    return (*FLAGS, FLAG) if command == COMMAND else FLAGS


def split(command: str, argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """(the conditions, the other words). ConfigError for the flag in a command that trains.

    The first word after the flag is a condition, and so are those that follow with a key of a run
    that the command has not: `--where scheme=rope seed=0 evaluation=quick` has two.
    """
    if command == "train":
        if any(word.partition("=")[0] == FLAG.name for word in argv):
            raise ConfigError(
                f"{FLAG.name} chooses trained runs: it is a flag of evaluate, compare, list runs "
                "and plot; to train several give -m, as in -m scheme=rope,alibi seed=0,1"
            )
        return [], list(argv)
    own = set(catalogue.names(COMMAND)) | {"model"}
    keys = [key for key in records.IDENTITY if key not in own]
    conditions: list[str] = []
    others: list[str] = []
    expected = follows = False
    for word in argv:
        name, equals, value = word.partition("=")
        if name == FLAG.name:
            if equals:
                conditions.append(value)
            expected, follows = not equals, True
        elif expected or (follows and name in keys):
            conditions.append(word)
            expected = False
        else:
            others.append(word)
            follows = False
    if expected:
        conditions.append("")  # refused: a flag without its words
    return conditions, others
