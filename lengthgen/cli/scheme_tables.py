"""`lengthgen list schemes --table`, `list modifiers|retrofits`: what they declare, as tables.

One row for each YAML file. A named variant (a YAML whose code is another's) shows what it changes,
and otherwise only where it differs from the scheme that it varies. One that cannot be loaded is a
row that says why. Imports no torch before a table is made.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lengthgen import modifiers, retrofits, schemes
from lengthgen.config import catalogue, dataclass_from
from lengthgen.errors import UserError
from lengthgen.reporting.text_tables import aligned

if TYPE_CHECKING:
    from lengthgen.model import ModelConfig
    from lengthgen.schemes.base import Dimensions, Scheme

TRAIN_LENGTH = 512  # of the counts
YES_NO = {True: "yes", False: "no"}
PREFIX = "prefix: logits at a position stay the same when more tokens follow"
COMPARED = (
    "compared with: what the tests check it against; blank cells of a variant: as in what it varies"
)
SCHEME_HEAD = (
    "scheme, year, paper, acts on, parameters, prefix, compared with, past the trained length"
)
MODIFIER_HEAD = "modifier, year, paper, applies to, parameters, prefix, compared with, what it is"
RETROFIT_HEAD = "retrofit, year, paper, applies to, prefix, compared with, what it is"
Row = tuple[str, ...]
# Class, options, YAML file -> the cells after the name.
Cells = Callable[[type[Any], Any, Path], Row]


def scheme_table(where: Sequence[Path]) -> str:
    """What each scheme declares with its YAML's options."""
    sizes = tiny(where)

    def cells(cls: type[Any], options: Any, path: Path) -> Row:
        scheme = cls(options, sizes)
        d = scheme.declaration
        acts_on = d.acts_on if scheme.structure == "none" else f"{d.acts_on}: {scheme.structure}"
        count, prefix = f"{_count(scheme):,}: {d.sharing}", YES_NO[d.prefix_consistent]
        return str(d.year), d.paper, acts_on, count, prefix, ", ".join(d.oracles), d.tail

    return (
        _table(SCHEME_HEAD, schemes, where, cells, wrapped={2: 22, 3: 10, 4: 21, 6: 16})
        + "\nparameters: the scheme's own, in the tiny model at "
        + f"train_length={TRAIN_LENGTH}; {PREFIX}\n{COMPARED}"
    )


def modifier_table(where: Sequence[Path]) -> str:
    """What each modifier declares around rope, and its own parameters."""
    inner = _scheme("rope", tiny(where))

    def cells(cls: type[Any], options: Any, path: Path) -> Row:
        modifier = cls(options, inner)
        count = f"{_count(modifier) - _count(inner):,}"
        return *_about(cls), count, _prefix(modifier), *_compared(cls, path)

    stages = {name: modifiers.load(name).stage for name in modifiers.names()}
    order = ", ".join(sorted(stages, key=lambda name: (stages[name], name)))
    return (
        _table(MODIFIER_HEAD, modifiers, where, cells, wrapped={2: 26, 3: 18, 6: 17})
        + f"\nparameters: its own, in the tiny model; {PREFIX}\n{COMPARED}\n"
        + f"several at once: +modifier=[window,ssmax]; applied in the order {order}\n"
        + "normalised queries and keys are the model's own: model.qk_norm=true"
    )


def retrofit_table(where: Sequence[Path]) -> str:
    """What each retrofit declares, around the first scheme that takes it."""
    sizes = tiny(where)
    names = sorted(schemes.names(), key=lambda name: (name != "rope", name))
    trained = [_scheme(name, sizes) for name in names]

    def cells(cls: type[Any], options: Any, path: Path) -> Row:
        inner = next((scheme for scheme in trained if cls.refuses(scheme) is None), None)
        prefix = "" if inner is None else _prefix(cls(options, inner))
        return *_about(cls), prefix, *_compared(cls, path)

    return (
        _table(RETROFIT_HEAD, retrofits, where, cells, wrapped={2: 26, 3: 18, 5: 18})
        + f"\n{PREFIX}; no: it follows the window's length, unless given a fixed factor\n{COMPARED}"
    )


def _table(
    titles: str, kind: Any, where: Sequence[Path], cells: Cells, wrapped: dict[int, int]
) -> str:
    """A row for each YAML of the group kind.NOUN, variants after what they vary."""
    head, noun = titles.split(", "), kind.NOUN
    user_folders = [root / noun for root in where[1:]]
    rows: dict[tuple[str, str], Row] = {}  # by code and variant
    changes: dict[tuple[str, str], str] = {}
    for option, path in catalogue.files(noun, where).items():
        if option == "none" and kind is not schemes:
            continue  # nothing, by that name
        key = (option, "")
        try:
            name, options = read(path, where)
            key = (name, "" if option == name else option)
            cls = kind.load(name, user_folders)
            rows[key] = (option, *cells(cls, dataclass_from.build(cls.Config, options, noun), path))
            defaults = cls.Config()
            changed = [f"{k}={v}" for k, v in options.items() if getattr(defaults, k) != v]
            changes[key] = ", ".join(changed)
        except UserError as error:
            rows[key] = (option, *[""] * (len(head) - 2), f"cannot be loaded: {error}")
    for key in rows.keys() & changes.keys():
        name, variant = key
        if variant:
            rows[key] = _variant(rows[key], rows.get((name, "")), f"{name} with {changes[key]}")
    return aligned(head, [row for _, row in sorted(rows.items())], wrapped)


def _variant(row: Row, varied: Row | None, change: str) -> Row:
    """A variant's row: its change is the paper's cell; cells as in the varied row are blank."""
    same = varied or ("",) * len(row)
    kept = ["" if cell == other else cell for cell, other in zip(row, same, strict=True)]
    return kept[0], "", change, *kept[3:]


def read(path: Path, where: Sequence[Path]) -> tuple[str, dict[str, Any]]:
    """(name of the code, options) of a YAML file: named by `name:`, a modifier by its package."""
    options = catalogue.contents(path, where)
    package = re.match(r"# @package modifiers\.(\w+)", path.read_text(encoding="utf-8"))
    return str(options.pop("name", package[1] if package else path.stem)), options


def dimensions(model: "ModelConfig") -> "Dimensions":
    from lengthgen.schemes.base import Dimensions

    head_size = model.width // model.n_heads
    return Dimensions(model.n_layers, model.n_heads, head_size, model.width, TRAIN_LENGTH)


def tiny(where: Sequence[Path]) -> "Dimensions":
    """The dimensions of model=tiny."""
    from lengthgen.model import ModelConfig

    options = catalogue.contents(catalogue.files("model", where)["tiny"], where)
    options.pop("name")
    return dimensions(dataclass_from.build(ModelConfig, options, "model"))


def _scheme(name: str, dimensions: "Dimensions") -> "Scheme":
    cls = schemes.load(name)
    return cls(cls.Config(), dimensions)


def _count(scheme: "Scheme") -> int:
    return sum(parameter.numel() for parameter in scheme.parameters())


def _prefix(scheme: "Scheme") -> str:
    return YES_NO[scheme.declaration.prefix_consistent]


def _about(cls: type[Any]) -> Row:
    return str(cls.about.year), cls.about.paper, cls.about.applies_to


def _compared(cls: type[Any], path: Path) -> Row:
    return ", ".join(cls.about.oracles), catalogue.meaning(path)
