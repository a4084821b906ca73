"""What schemes, retrofits and modifiers are called in papers: `# title: T5 bias` in their YAML.

A comment, since a key would be a part of every run's identity.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lengthgen.config import catalogue

GROUPS = ("modifier", "retrofit", "scheme")
_TITLE = re.compile(r"^# title: *(?P<text>.*\S)", re.MULTILINE)


def titles(where: Sequence[Path]) -> dict[str, str]:
    """Name of a YAML file, and label -> title. where: catalogue.folders().

    A variant's label is that of its runs: `rope(base=500000)`, of rope_base_500k.yaml.
    """
    found: dict[str, str] = {}
    for group in GROUPS:
        files = catalogue.files(group, where)
        for option, path in files.items():
            title = _TITLE.search(path.read_text(encoding="utf-8"))
            if title:
                found |= dict.fromkeys((option, _label(option, files, where)), title["text"])
    return found


def _label(option: str, files: Mapping[str, Path], where: Sequence[Path]) -> str:
    """What tables call a run of an option; the option itself where that is not known."""
    options = catalogue.contents(files[option], where)
    name = str(options.pop("name", option))
    if name == option or name not in files:
        return option
    defaults: dict[str, Any] = catalogue.contents(files[name], where)
    changed = [f"{key}={_value(v)}" for key, v in options.items() if defaults.get(key) != v]
    return f"{name}({', '.join(changed)})" if changed else name


def _value(value: Any) -> str:
    return str(value).removesuffix(".0")
