"""Pages that mkdocs makes from the code: commands, keys, schemes, modifiers, retrofits, files.

Whatever a page says stands once, where the code is: in the help texts, in the YAML files of
configs/, in the docstrings of the schemes, and in results/README.md. No torch.
"""

import ast
import contextlib
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from lengthgen import modifiers, retrofits, schemes
from lengthgen.cli import main
from lengthgen.config import catalogue

ROOT = Path(__file__).parents[1]
REPOSITORY = "https://github.com/lengthgen/lengthgen/blob/main/"
WITHOUT_PAGE = ("completion",)
# Pages that are not made by `lengthgen train --help` and its like, but have keys of their own.
COMMANDS_WITH_KEYS = ("train", "evaluate", "pretrained")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages to those of docs/pages."""
    for name, make in PAGES.items():
        files.append(File.generated(config, f"reference/{name}.md", content=make()))
    return files


def commands() -> str:
    parts = ["# Commands", "", *_code(main.help_text())]
    for command in main.COMMANDS:
        if command.name not in WITHOUT_PAGE:
            parts += ["", f"## {command.name}", "", *_code(_help(command.name))]
    return "\n".join(parts)


def keys() -> str:
    """The YAML of each command, whose comments are the manual of its keys, and of each group."""
    parts = ["# Keys", "", "Every key can be given on the command line, as `lengthgen train"]
    parts[-1] += " steps=100 model.width=256`. These are the files of `configs/`, as they are."
    for name in COMMANDS_WITH_KEYS:
        parts += ["", f"## {name}", "", *_code((catalogue.folder() / f"{name}.yaml").read_text())]
    shown = ("model", "dataset", "tokenizer", "optim", "evaluation", "tracking", "diagnostics")
    for group in shown:
        parts += ["", f"## {group}"]
        for option, path in catalogue.files(group, [catalogue.folder()]).items():
            parts += ["", f"### {group}={option}", "", *_code(path.read_text())]
    return "\n".join(parts)


def plugins(package: Any, title: str, about: str) -> str:
    """What each file of schemes/, modifiers/ or retrofits/ says of itself, with its options."""
    parts = [f"# {title}", "", about]
    options = catalogue.files(package.NOUN, [catalogue.folder()])
    varied: dict[str, list[str]] = {}
    for option, path in options.items():
        base = re.search(r"^defaults: \[(\w+), _self_\]", path.read_text(), re.M)
        if base:
            varied.setdefault(base[1], []).append(option)
    for name in package.names():
        docstring = ast.get_docstring(ast.parse(package.source(name).read_text())) or ""
        parts += ["", f"## {name}", "", *_prose(docstring)]
        if name in options:
            parts += ["", *_code(options[name].read_text())]
        for option in varied.get(name, []):
            parts += ["", f"`{package.NOUN}={option}`: {catalogue.meaning(options[option])}"]
    return "\n".join(parts)


def files() -> str:
    """results/README.md, whose links lead into the repository here."""
    text = (ROOT / "results" / "README.md").read_text()
    text = text.replace("# Results: a manual", "# Files and columns", 1)
    return re.sub(r"\]\((?!http|#)([^)]+)\)", lambda link: f"]({_in_repository(link[1])})", text)


def _in_repository(link: str) -> str:
    path, hash_sign, anchor = link.partition("#")
    where = (ROOT / "results" / path).resolve().relative_to(ROOT).as_posix()
    return f"{REPOSITORY}{where}{hash_sign}{anchor}"


def _help(command: str) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        main.main([command, "--help"])
    return said.getvalue()


def _code(text: str) -> list[str]:
    return ["```text", text.rstrip(), "```"]


def _prose(docstring: str) -> list[str]:
    """A docstring as Markdown: its paragraphs, with Source and Formula set off."""
    text = re.sub(r"^(Source|Formula|Deviations?):", r"\n**\1:**", docstring, flags=re.M)
    # What looks like a table or a sum in the docstring stays as it is written.
    return [line.replace("*", r"\*") if "**" not in line else line for line in text.splitlines()]


SCHEMES = (
    "Each is one file in `lengthgen/schemes/` and one YAML in `configs/scheme/`: the text below is "
    "the file's own, the options are the YAML's. `lengthgen list schemes --table` compares "
    "what they declare."
)
MODIFIERS = "What combines with any scheme and is there in training: `+modifier=NAME`."
RETROFITS = (
    "What changes a trained model at evaluation time (`lengthgen evaluate run=ID +retrofit=NAME`), "
    "or goes around it while it is trained on (`lengthgen train from=ID +retrofit=NAME`)."
)
PAGES: dict[str, Callable[[], str]] = {
    "commands": commands,
    "keys": keys,
    "schemes": lambda: plugins(schemes, "Schemes", SCHEMES),
    "modifiers": lambda: plugins(modifiers, "Modifiers", MODIFIERS),
    "retrofits": lambda: plugins(retrofits, "Retrofits", RETROFITS),
    "files": files,
}
