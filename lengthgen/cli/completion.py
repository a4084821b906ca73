"""Tab completion: the scripts for bash and zsh, and the query that they make at each key press.

The scripts pass the line typed so far to `lengthgen completion query`. Groups, options and keys
come from Hydra's completion, after the sub-command, which Hydra does not know, is taken away.
"""

import os
import re
from collections.abc import Iterable, Sequence
from importlib import import_module

from lengthgen.config import catalogue, command_line
from lengthgen.errors import ConfigError, UserError

BASH = r"""# lengthgen: tab completion for bash. In ~/.bashrc: eval "$(lengthgen completion bash)"
_lengthgen() {
    local IFS=$'\n' typed="${COMP_LINE:0:COMP_POINT}" word answer
    word="${typed##* }"
    COMPREPLY=()
    for answer in $(COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" "$1" completion query 2>/dev/null); do
        # bash starts a new word at '=' unless told otherwise: give back only what follows it
        if [[ "$COMP_WORDBREAKS" == *=* ]]; then answer="${answer#"${word%"${word##*=}"}"}"; fi
        COMPREPLY+=("$answer")
    done
}
complete -o nospace -o default -F _lengthgen lengthgen
"""  # noqa: E501

ZSH = r"""#compdef lengthgen
# lengthgen: tab completion for zsh. In ~/.zshrc, after compinit: eval "$(lengthgen completion zsh)"
_lengthgen() {
    local line="${(j: :)words[1,CURRENT]}"
    local -a answers
    answers=("${(@f)$(COMP_LINE="$line" COMP_POINT="${#line}" "$words[1]" completion query 2>/dev/null)}")
    answers=("${(@)answers:#}")
    if (( $#answers )); then compadd -Q -S '' -a answers; else _files; fi
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
compdef _lengthgen lengthgen
"""  # noqa: E501
SCRIPTS = {"bash": BASH, "zsh": ZSH}
WITH_FLAGS = {"compare": "compare", "decide": "decide", "list": "listing"}  # command -> its module
HARMLESS = re.compile(r"[\w./=,:@+~\[\]-]+ ?")


def main(argv: Sequence[str], commands: Sequence[str]) -> int:
    """`lengthgen completion bash|zsh` prints a script; `query` prints completions, one a line.

    commands: the names of all commands.
    """
    shell = argv[0] if argv else ""
    if shell == "query":
        line, point = os.environ.get("COMP_LINE", ""), os.environ.get("COMP_POINT", "")
        typed = line[: int(point)] if point.isdigit() else line
        # A shell puts them on its line as they are: file names that it would run are left out.
        offered = [answer for answer in candidates(typed, commands) if HARMLESS.fullmatch(answer)]
        print("\n".join(offered))
        return 0
    if shell not in SCRIPTS:
        problem = f"no completion for {shell!r}" if shell else "completion for which shell?"
        raise ConfigError(
            f"{problem}; expected one of: {', '.join(SCRIPTS)}, "
            'as in: eval "$(lengthgen completion bash)"'
        )
    print(SCRIPTS[shell], end="")
    return 0


def candidates(typed: str, commands: Sequence[str]) -> list[str]:
    """Completions of the last word of `typed`, the line up to the cursor; a space ends a word."""
    words = typed.split()
    word = "" if not words or typed.endswith(" ") else words.pop()
    words = words[1:]  # without the program's name
    if not words:
        return _starting(commands, word)
    command, *words = words
    if command == "list" and not words:
        from lengthgen.cli.listing import TOPICS

        return _starting(TOPICS, word)
    if command == "completion" and not words:
        return _starting(SCRIPTS, word)
    if command == "study" and not word.startswith("-"):
        return _starting(["all", *catalogue.options("study", catalogue.folders())], word)
    from lengthgen.cli import run_completion

    if (of_runs := run_completion.candidates(command, words, word)) is not None:
        return of_runs
    if command == "export":
        from lengthgen.cli import export

        return export.candidates(words, word)
    if command in WITH_FLAGS:
        parser = import_module(f"lengthgen.cli.{WITH_FLAGS[command]}").parser()
        flags = [flag for flag in parser._option_string_actions if flag.startswith("--")]
        return _starting(flags, word) if word.startswith("-") else []
    if command not in ("train", "evaluate"):
        return []
    if word.startswith("-"):
        from lengthgen.cli import where_words

        return _starting([flag.name for flag in where_words.flags_of(command)], word)
    for flag in command_line.FLAGS:
        needs_value = flag.values == () or (flag.values and flag.default is None)
        if needs_value and words and words[-1] in (flag.name, flag.short):
            # None for a folder: the shell then offers files.
            return _starting(flag.values or (), word)
    from lengthgen.cli import hydra_call

    try:
        return hydra_call.complete(command, words, word)
    except UserError:  # an error earlier in the line: groups and options can still be offered
        return _groups(command, word)


def _groups(command: str, word: str) -> list[str]:
    name = word.lstrip("+")
    plus = word[: len(word) - len(name)]
    group, equals, _ = name.partition("=")
    if equals:
        options = catalogue.options(group, catalogue.folders())
        names = [f"{group}={option}" for option in options]
    else:
        names = [f"{key.name}=" for key in catalogue.groups(command)]
    return _starting([plus + name for name in names], word, end="")


def _starting(words: Iterable[str], start: str, end: str = " ") -> list[str]:
    return [word + end for word in words if word.startswith(start)]
