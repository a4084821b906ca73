"""`lengthgen list schemes`: by the way in which positions enter, a line each.

`lengthgen list schemes rope` prints a file's own words, its YAML, and what it declares; modifiers
and retrofits likewise.
"""

import ast
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lengthgen import schemes
from lengthgen.cli import scheme_tables
from lengthgen.config import catalogue, dataclass_from
from lengthgen.config.nearest import nearest
from lengthgen.errors import ConfigError, UserError
from lengthgen.reporting.text_tables import WIDTH, aligned

# (what it acts on, its structure) -> how a reader calls that; in this order.
FAMILIES = {
    ("input", "none"): "Added to the input",
    ("queries and keys", "none"): "Queries and keys turned or scaled",
    ("scores", "toeplitz"): "A bias of the distance",
    ("scores", "rows"): "A bias of the two positions",
    ("scores", "gates"): "A bias that the text decides",
    ("scores", "general"): "Scores computed anew",
    ("nothing", "none"): "No positions",
}
OTHERS = "Others"
BROKEN = "Cannot be loaded"
NOTE = (
    "`lengthgen list schemes NAME` prints one whole, `lengthgen list schemes --table` what all of "
    "them declare. A line further in: a variant of the scheme above it."
)


def table(where: Sequence[Path]) -> str:
    """Every YAML of the group scheme, under its family; variants below what they vary."""
    of_family: dict[str, list[tuple[str, str, str]]] = {}
    tiny, user_folders = scheme_tables.tiny(where), [root / schemes.NOUN for root in where[1:]]
    found = []
    for option, path in catalogue.files(schemes.NOUN, where).items():
        try:
            name, options = scheme_tables.read(path, where)
            cls = schemes.load(name, user_folders)
            made = cls(dataclass_from.build(cls.Config, options, schemes.NOUN), tiny)
            declared = made.declaration
            family = FAMILIES.get((declared.acts_on, _structure(made)), OTHERS)
            found.append((name, option != name, option, family, str(declared.year)))
        except UserError as error:
            of_family.setdefault(BROKEN, []).append((option, "", str(error)))
    base = {name: family for name, variant, _, family, _ in found if not variant}
    paths = catalogue.files(schemes.NOUN, where)
    for name, variant, option, family, year in sorted(found):
        shown = f"  {option}" if variant else option
        row = (shown, year, catalogue.meaning(paths[option]))
        of_family.setdefault(base.get(name, family), []).append(row)
    parts = []
    for family in (*FAMILIES.values(), OTHERS, BROKEN):
        if rows := of_family.get(family):
            parts.append(f"{family}\n{_indented(rows)}\n")
    return "\n".join([*parts, *textwrap.wrap(NOTE, WIDTH)])


def page(package: Any, name: str, where: Sequence[Path]) -> str:
    """One scheme, modifier or retrofit. package: its folder. ConfigError for one that is not there.

    name: of a YAML, or as papers write it.
    """
    files = catalogue.files(package.NOUN, where)
    if name not in files:
        near = nearest(name, files)
        hint = (
            f"nearest: {', '.join(near)}" if near else f"`lengthgen list {package.NOUN}s` has all"
        )
        raise ConfigError(f"no {package.NOUN} {name!r}; {hint}")
    code, _ = scheme_tables.read(files[name], where)
    user_folders = [root / package.NOUN for root in where[1:]]
    source = package.source(code, user_folders)
    words = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    of = f", with the code of {code}" if code != name else ""
    parts = [f"{name}{of}: {catalogue.meaning(files[name])}", "", words, "", "Options", ""]
    parts += [f"  {line}" for line in files[name].read_text(encoding="utf-8").splitlines()]
    if package is schemes:
        parts += ["", "Declared, in the tiny model", "", *_declared(name, where, user_folders)]
    return "\n".join(parts)


def _declared(name: str, where: Sequence[Path], user_folders: Sequence[Path]) -> list[str]:
    path = catalogue.files(schemes.NOUN, where)[name]
    code, options = scheme_tables.read(path, where)
    cls = schemes.load(code, user_folders)
    made = cls(dataclass_from.build(cls.Config, options, schemes.NOUN), scheme_tables.tiny(where))
    declared = made.declaration
    facts = {
        "paper": f"{declared.paper} ({declared.year})",
        "acts on": FAMILIES.get((declared.acts_on, _structure(made)), declared.acts_on),
        "parameters": f"{sum(p.numel() for p in made.parameters()):,}: {declared.sharing}",
        "prefix": "logits stay the same when more tokens follow"
        if declared.prefix_consistent
        else "logits depend on how long the window is",
        "reach": declared.trained_reach,
        "past it": declared.tail,
        "compared with": ", ".join(declared.oracles),
    }
    rows = [(key, value) for key, value in facts.items()]
    return [f"  {line}" for line in aligned(("", ""), rows, width=WIDTH - 2).splitlines()[2:]]


def _structure(made: Any) -> str:
    return str(made.structure)


def _indented(rows: Sequence[tuple[str, str, str]]) -> str:
    lines = aligned(("", "", ""), rows, width=WIDTH - 2).splitlines()[2:]
    return "\n".join(f"  {line}" for line in lines)
