"""Options whose default follows the training length: null in a YAML, a number in a run.

A Config may define `at_length(train_length)`: a mapping of what the options that nobody gave stand
for at that length. A run holds the numbers, so that its identity says what was trained; its label
names what the user changed, so an option is named only where leaving it out gives another value.
"""

import dataclasses
from typing import Any


def resolved(options: Any, train_length: int) -> Any:
    """`options` with numbers for what follows the length. ConfigError if they do not fit."""
    values = at(options, train_length)
    return dataclasses.replace(options, **values) if values else options


def changed(options: Any, train_length: int) -> dict[str, Any]:
    """Name and value of each option that leaving it out would change."""
    found, follow = {}, at(options, train_length)
    for option in dataclasses.fields(options):
        value, factory = getattr(options, option.name), option.default_factory
        default = option.default if factory is dataclasses.MISSING else factory()
        if value == default:
            continue
        if option.name in follow:
            without = dataclasses.replace(options, **{option.name: default})
            if at(without, train_length)[option.name] == value:
                continue
        found[option.name] = value
    return found


def at(options: Any, train_length: int) -> dict[str, Any]:
    """What the options that follow the length are at `train_length`: given ones as given."""
    return options.at_length(train_length) if hasattr(options, "at_length") else {}
