"""What schemes, modifiers and retrofits declare, as tables: `lengthgen list schemes|modifiers|retrofits`.

One row for each YAML file. A named variant (a YAML whose code is another's) says what it changes, and only where it differs from the
scheme that it varies. One that cannot be loaded is a row that says why. Imports no torch before a table is asked for.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from omegaconf import OmegaConf

from lengthgen import modifiers, retrofits, schemes
from lengthgen.config import catalogue, dataclass_from
from lengthgen.errors import UserError
from lengthgen.reporting.text_tables import aligned

TRAIN_LENGTH = 512  # of the counts
YES_NO = {True: "yes", False: "no"}
PREFIX = "prefix: logits at a position stay the same when more tokens follow"
COMPARED = (
    "compared with: what the tests check it against; blank cells of a variant: as in what it varies"
)


def scheme_table(where: Sequence[Path]) -> str:
    """What each scheme declares with its YAML's options."""
    head = (
        "scheme",
        "year",
        "paper",
        "acts on",
        "parameters",
        "prefix",
        "compared with",
        "past the trained length",
    )
    dimensions = _dimensions(where)

    def cells(cls: type, options: Any, path: Path) -> tuple[str, ...]:
        scheme = cls(options, dimensions)
        d = scheme.declaration
        acts_on = d.acts_on if d.structure == "none" else f"{d.acts_on}: {d.structure}"
        count = f"{_count(scheme):,}: {d.sharing}"
        return (
            str(d.year),
            d.paper,
            acts_on,
            count,
            YES_NO[d.prefix_consistent],
            ", ".join(d.oracles),
            d.tail,
        )

    table = aligned(
        head,
        _rows("scheme", schemes, where, cells, len(head)),
        wrapped={2: 22, 3: 10, 4: 21, 6: 16},
    )
    return f"{table}\nparameters: the scheme's own, in the tiny model at train_length={TRAIN_LENGTH}; {PREFIX}\n{COMPARED}"


def modifier_table(where: Sequence[Path]) -> str:
    """What each modifier declares around rope, and its own parameters."""
    head = (
        "modifier",
        "year",
        "paper",
        "applies to",
        "parameters",
        "prefix",
        "compared with",
        "what it is",
    )
    inner = _scheme("rope", _dimensions(where))

    def cells(cls: type, options: Any, path: Path) -> tuple[str, ...]:
        modifier = cls(options, inner)
        count, prefix = (
            f"{_count(modifier) - _count(inner):,}",
            YES_NO[modifier.declaration.prefix_consistent],
        )
        return *_about(cls), count, prefix, ", ".join(cls.about.oracles), catalogue.meaning(path)

    table = aligned(
        head, _rows("modifier", modifiers, where, cells, len(head)), wrapped={2: 26, 3: 18, 6: 17}
    )
    order = ", ".join(
        sorted(modifiers.names(), key=lambda name: (modifiers.load(name).stage, name))
    )
    return (
        f"{table}\nparameters: its own, in the tiny model; {PREFIX}\n{COMPARED}\n"
        f"several at once: +modifier=[window,ssmax]; applied in the order {order}\n"
        "normalised queries and keys are the model's own: model.qk_norm=true"
    )


def retrofit_table(where: Sequence[Path]) -> str:
    """What each retrofit declares, around the first scheme that takes it."""
    head = ("retrofit", "year", "paper", "applies to", "prefix", "compared with", "what it is")
    dimensions = _dimensions(where)
    trained = [
        _scheme(name, dimensions)
        for name in sorted(schemes.names(), key=lambda name: (name != "rope", name))
    ]

    def cells(cls: type, options: Any, path: Path) -> tuple[str, ...]:
        inner = next((scheme for scheme in trained if cls.refuses(scheme) is None), None)
        prefix = "" if inner is None else YES_NO[cls(options, inner).declaration.prefix_consistent]
        return *_about(cls), prefix, ", ".join(cls.about.oracles), catalogue.meaning(path)

    table = aligned(
        head, _rows("retrofit", retrofits, where, cells, len(head)), wrapped={2: 26, 3: 18, 5: 18}
    )
    return f"{table}\n{PREFIX}; no: it follows the window's length, unless given a fixed factor\n{COMPARED}"


Cells = Callable[
    [type, Any, Path], tuple[str, ...]
]  # class, options, YAML file -> the cells after the name


def _rows(
    noun: str, kind: ModuleType, where: Sequence[Path], cells: Cells, width: int
) -> list[tuple[str, ...]]:
    """(option, *cells) of each YAML of the group `noun`, variants after what they vary."""
    user_folders, rows, changes = [root / noun for root in where[1:]], {}, {}
    for option, path in sorted(catalogue.files(noun, where).items()):
        if option == "none" and kind is not schemes:
            continue  # nothing, by that name
        name, key = option, (option, "")
        try:
            name, options = _read(path, where)
            key = (name, "" if option == name else option)
            cls = kind.load(name, user_folders)
            rows[key] = (option, *cells(cls, dataclass_from.build(cls.Config, options, noun), path))
            changes[key] = ", ".join(
                f"{k}={v}" for k, v in options.items() if getattr(cls.Config(), k) != v
            )
        except UserError as error:
            rows[key] = (option, *[""] * (width - 2), f"cannot be loaded: {error}")
    return [
        _variant(row, rows.get((key[0], "")), key[0], changes[key])
        if key[1] and key in changes
        else row
        for key, row in sorted(rows.items())
    ]


def _variant(
    row: tuple[str, ...], varied: tuple[str, ...] | None, name: str, changed: str
) -> tuple[str, ...]:
    """The row of a variant: the paper's cell says what it changes, and what is as in the row that it varies is blank."""
    same = varied or [""] * len(row)
    kept = ["" if cell == other else cell for cell, other in zip(row, same, strict=True)]
    return kept[0], "", f"{name} with {changed}", *kept[3:]


def _read(path: Path, where: Sequence[Path]) -> tuple[str, dict[str, Any]]:
    """(name of the code, options) of a YAML file: named by `name:`, a modifier by its package."""
    options = catalogue.contents(path, where)
    package = re.match(r"# @package modifiers\.(\w+)", path.read_text(encoding="utf-8"))
    return str(options.pop("name", package[1] if package else path.stem)), options


def _dimensions(where: Sequence[Path]) -> Any:
    from lengthgen.schemes.base import Dimensions

    tiny = OmegaConf.load(catalogue.files("model", where)["tiny"])
    return Dimensions(
        tiny.n_layers, tiny.n_heads, tiny.width // tiny.n_heads, tiny.width, TRAIN_LENGTH
    )


def _scheme(name: str, dimensions: Any) -> Any:
    cls = schemes.load(name)
    return cls(cls.Config(), dimensions)


def _count(scheme: Any) -> int:
    return sum(parameter.numel() for parameter in scheme.parameters())


def _about(cls: type) -> tuple[str, str, str]:
    return str(cls.about.year), cls.about.paper, cls.about.applies_to
