"""Why Hydra refuses a command, or would: finds the one line of messages.py that explains it.

Some errors are found before Hydra is called (`checked`), some in what it composed (`refuse_gaps`),
the rest in what it raised (`explained`).
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString, Transformer
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lengthgen.config import catalogue, command_line, hydra_settings, messages
from lengthgen.config.command_line import CommandLine
from lengthgen.config.nearest import same_name
from lengthgen.errors import ConfigError, UserError

COMBINATIONS = 64  # of a sweep's options, at most so many are composed to look for a missing key


def loader(config_dir: Path | None) -> ConfigLoaderImpl:
    """Hydra's loader over the same folders as the real call, to compose without running."""
    search_path = create_config_search_path(str(catalogue.folder()))
    if config_dir:
        anchor = SearchPathQuery(provider="schema")
        search_path.prepend("command-line", f"file://{config_dir}", anchor=anchor)
    return hydra_settings.Loader(search_path)


def text_of(override: Override) -> str:
    """As the user wrote it."""
    return override.input_line or ""


def checked(command: str, line: CommandLine, groups: list[str]) -> list[Override]:
    """The overrides, parsed, with options spelled as they are listed.

    ConfigError for what shows without composing: form, options of groups, a forgotten `-m`.
    """
    line.overrides = [command_line.with_its_key(command, text) for text in line.overrides]
    where = catalogue.folders(line.config_dir)
    optional = [group.name for group in catalogue.groups(command) if group.value == "null"]
    all_groups = {*groups, *catalogue.all_groups(where)}
    options = {group: catalogue.options(group, where) for group in all_groups}
    parsed: dict[str, Override] = {}
    overrides = []
    for index, text in enumerate(line.overrides):
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException as error:
            raise messages.unreadable(command, text, options) from error
        key = override.key_or_group
        if not key:
            raise messages.unreadable(command, text, options)
        if key == "hydra.mode":
            raise hydra_settings.refused(key)
        if key in groups:
            if key in parsed:
                raise messages.given_twice(text_of(parsed[key]), text)
            text = line.overrides[index] = _as_listed(override, options[key])
            override = OverridesParser.create().parse_override(text)
        parsed[key] = override
        overrides.append(override)
        folder = line.config_dir / key if line.config_dir else None
        if folder and "." not in key and key not in options and folder.is_dir():
            raise messages.hidden_key(text, key, folder.parent)
        if override.is_sweep_override() and line.runs_jobs and not line.multirun:
            raise messages.several_without_multirun(command, text, key in groups)
        if key in groups:
            for name in _names(override):
                if name not in options[key]:
                    raise messages.unknown_option(key, name, options[key])
            if override.is_delete() or override.value() is None:
                if key not in optional:
                    raise messages.no_value(command, key)
                if not override.is_delete():
                    raise messages.null_option(key, options[key])
    return overrides


def _as_listed(override: Override, options: Sequence[str]) -> str:
    """With the listed spelling of its options: `scheme=ALiBi,T5` -> `scheme=alibi,t5_bias`."""
    text = text_of(override)
    for name in _names(override):
        listed = name if name in options else same_name(name, options, override.key_or_group)
        if listed and listed != name:
            text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", listed, text)
    return text


def _names(override: Override) -> list[str]:
    """The options that an override of a group names; none where it is null or glob(*)."""
    if override.is_delete() or "glob(" in text_of(override):
        return []
    values: list[Any] = [override.value()]
    if override.is_sweep_override():
        values = list(override.sweep_iterator(transformer=Transformer.identity))
    names = [name for value in values for name in (value if isinstance(value, list) else [value])]
    return [
        name.text if isinstance(name, QuotedString) else str(name)
        for name in names
        if name is not None
    ]


def assignments(override: Override) -> list[str]:
    """`key=value` for each job of a sweep; what was written where it is none.

    Of an interval, the one at its lower end.
    """
    if not override.is_sweep_override():
        return [text_of(override)]
    if override.is_interval_sweep():  # whose values a sweeper chooses
        interval: Any = override.value()
        return [f"{override.get_key_element()}={interval.start}"]
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def explained(command: str, line: CommandLine, error: Exception) -> UserError:
    """The line for a composition that Hydra refused: the first wrong key, else Hydra's words."""
    composer = loader(line.config_dir)
    overrides = OverridesParser.create(config_loader=composer).parse_overrides(line.overrides)
    for override in overrides:
        group = override.key_or_group
        plugins = composer.get_group_options(group) if group.startswith("hydra/") else []
        if plugins and override.get_value_element_as_str() not in plugins:
            return messages.unknown_plugin(group, override.get_value_element_as_str(), plugins)
    try:
        wrong_key = _wrong_key(command, composer, overrides)
    except Exception:  # not a key's fault: the composition itself fails
        wrong_key = None
    return wrong_key or ConfigError(messages.in_one_line(error))


def refuse_missing_keys(
    command: str, overrides: list[Override], composer: ConfigLoaderImpl
) -> None:
    """ConfigError for a key that one of a sweep's options lacks.

    Called before the sweep: Hydra would refuse only that job, half-way through.
    """
    groups = [group.name for group in catalogue.groups(command)]
    swept = {o.key_or_group for o in overrides if o.is_sweep_override()} & {*groups}
    swept |= {key for key, group in messages.CHOSEN_BY.items() if group in swept}
    keys = [o.key_or_group for o in overrides if o.key_or_group not in groups]
    if any(key.partition(".")[0] in swept for key in keys):
        error = _wrong_key(command, composer, overrides)
        if error:
            raise error


def _wrong_key(
    command: str, composer: ConfigLoaderImpl, overrides: list[Override]
) -> ConfigError | None:
    """The line for the first override whose key does not exist, or exists although it is added."""
    groups = [group.name for group in catalogue.groups(command)]
    of_groups = [override for override in overrides if override.key_or_group in groups]
    compositions = list(_compositions(composer, command, of_groups))
    for override in overrides:
        key, adds = override.key_or_group, override.is_add() or override.is_force_add()
        for choice, known in compositions:
            if override.is_add() and key in known and key not in groups:
                return messages.plus_on_known_key(text_of(override))
            if not adds and key not in [*known, *groups] and not key.startswith("hydra"):
                return _unknown(command, key, known, choice)
    return None


def _compositions(
    composer: ConfigLoaderImpl, command: str, of_groups: list[Override]
) -> Iterator[tuple[str, list[str]]]:
    """(the options that a sweep chose, the keys that exist then) for combinations of options."""
    swept = [override.is_sweep_override() for override in of_groups]
    combinations = itertools.product(*map(assignments, of_groups))
    for words in itertools.islice(combinations, COMBINATIONS):
        config = _unresolved(composer.load_configuration(command, list(words), RunMode.RUN))
        del config["hydra"]
        choice = [word.lstrip("+") for word, varies in zip(words, swept, strict=True) if varies]
        yield " ".join(choice), [key for key, _ in messages.flat(config)]


def _unresolved(config: DictConfig) -> dict[str, Any]:
    return cast("dict[str, Any]", OmegaConf.to_container(config, resolve=False))


def _unknown(command: str, key: str, known: Sequence[str], choice: str = "") -> ConfigError:
    """The line for a key that `command` does not have. choice: of the sweep's job without it."""
    other = {"train": "evaluate", "evaluate": "train", "pretrained": "train"}[command]
    top = key.partition(".")[0]
    if top in catalogue.names(other) and top not in catalogue.names(command):
        return messages.of_the_other(command, key, other)
    return messages.unknown_key(command, key, known, choice)


def refuse_gaps(command: str, config: DictConfig) -> None:
    """ConfigError for a key without a value, an unknown one (`+foo=1`), and a bad interpolation."""
    known = catalogue.names(command)
    for key, value in messages.flat(_unresolved(config)):
        if value == "???":
            raise messages.no_value(command, key)
        if "." not in key and key not in known:
            raise _unknown(command, key, known)
    try:
        OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
