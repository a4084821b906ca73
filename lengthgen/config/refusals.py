"""Why Hydra refused a command, or would: the search for the one line that explains it. mistakes.py words the line.

Some is told before Hydra is asked (`checked`), some of what it composed (`refuse_gaps`), the rest of what it raised (`explained`).
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString, Transformer
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lengthgen.config import catalogue, messages
from lengthgen.config.command_line import Request
from lengthgen.config.nearest import same_name
from lengthgen.errors import ConfigError, UserError


def loader(config_dir: Path | None) -> ConfigLoaderImpl:
    """Hydra's loader over the same folders as the real call, to compose and to count without running."""
    search_path = create_config_search_path(str(catalogue.folder()))
    if config_dir:
        search_path.prepend(
            "command-line", f"file://{config_dir}", anchor=SearchPathQuery(provider="schema")
        )
    return ConfigLoaderImpl(search_path)


def checked(command: str, request: Request, groups: list[str]) -> list[Override]:
    """The overrides, parsed; ConfigError for what can be told without composing: form, options of groups, `-m` forgotten."""
    where = catalogue.folders(request.config_dir)
    optional = [group.name for group in catalogue.groups(command) if group.value == "null"]
    options = {
        group: catalogue.options(group, where) for group in {*groups, *catalogue.all_groups(where)}
    }
    parsed: list[Override] = []
    for index, text in enumerate(request.overrides):
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException as error:
            raise messages.unreadable(command, text, options) from error
        if not override.key_or_group:
            raise messages.unreadable(command, text, options)
        group = override.key_or_group
        if group in groups:
            earlier = [other for other in parsed if other.key_or_group == group]
            if earlier:
                raise messages.given_twice(earlier[0].input_line, text)
            text = request.overrides[index] = _as_listed(override, options[group])
            override = OverridesParser.create().parse_override(text)
        parsed.append(override)
        if (
            request.config_dir
            and "." not in group
            and group not in options
            and (request.config_dir / group).is_dir()
        ):
            raise messages.hidden_key(text, group, request.config_dir)
        if override.is_sweep_override() and request.runs_jobs and not request.multirun:
            raise messages.several_without_multirun(command, text, group in groups)
        if group in groups:
            for name in _names(override):
                if name not in options[group]:
                    raise messages.unknown_option(group, name, options[group])
            if not override.is_delete() and override.value() is None and group in optional:
                raise messages.null_option(group, options[group])
            if (override.is_delete() or override.value() is None) and group not in optional:
                raise messages.no_value(command, group)
    return parsed


def _as_listed(override: Override, options: Sequence[str]) -> str:
    """The override with its options spelled as they are listed: `scheme=ALiBi,T5` -> `scheme=alibi,t5_bias`."""
    text = override.input_line
    for name in _names(override):
        listed = name if name in options else same_name(name, options, override.key_or_group)
        if listed not in (name, None):
            text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", listed, text)
    return text


def _names(override: Override) -> list[str]:
    """The options that an override of a group names, those of lists included; none where it is null or a pattern such as glob(*)."""
    if override.is_delete() or "glob(" in override.input_line:
        return []
    swept = override.is_sweep_override()
    values = (
        list(override.sweep_iterator(transformer=Transformer.identity))
        if swept
        else [override.value()]
    )
    named = [name for value in values for name in (value if isinstance(value, list) else [value])]
    return [
        name.text if isinstance(name, QuotedString) else str(name)
        for name in named
        if name is not None
    ]


def assignments(override: Override) -> list[str]:
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def explained(command: str, request: Request, error: Exception) -> UserError:
    """The line for a composition that Hydra refused: the first override that names no key, else Hydra's own words."""
    if isinstance(error, UserError):
        return error
    composer = loader(request.config_dir)
    overrides = OverridesParser.create(config_loader=composer).parse_overrides(request.overrides)
    for override in overrides:
        plugins = (
            composer.get_group_options(override.key_or_group)
            if override.key_or_group.startswith("hydra/")
            else []
        )
        if plugins and override.get_value_element_as_str() not in plugins:
            return messages.unknown_plugin(
                override.key_or_group, override.get_value_element_as_str(), plugins
            )
    try:
        found = _wrong_key(command, composer, overrides)
    except Exception:  # not a key's fault: the composition itself fails
        found = None
    return found or ConfigError(messages.in_one_line(error))


def refuse_missing_keys(
    command: str, overrides: list[Override], composer: ConfigLoaderImpl
) -> None:
    """ConfigError for a key that one of a sweep's options lacks. Asked before the sweep, which Hydra would only then refuse half done."""
    groups = [group.name for group in catalogue.groups(command)]
    swept = {override.key_or_group for override in overrides if override.is_sweep_override()} & set(
        groups
    )
    tops = swept | {key for key, group in messages.CHOSEN_BY.items() if group in swept}
    if any(
        o.key_or_group.partition(".")[0] in tops for o in overrides if o.key_or_group not in groups
    ):
        found = _wrong_key(command, composer, overrides)
        if found:
            raise found


def _wrong_key(
    command: str, composer: ConfigLoaderImpl, overrides: list[Override]
) -> ConfigError | None:
    """The line for the first override whose key is not there, or is there although it is added."""
    groups = [group.name for group in catalogue.groups(command)]
    composed = list(
        _compositions(composer, command, [o for o in overrides if o.key_or_group in groups])
    )
    for override in overrides:
        key, adds = override.key_or_group, override.is_add() or override.is_force_add()
        for choice, known in composed:
            if override.is_add() and key in known and key not in groups:
                return messages.plus_on_known_key(override.input_line)
            if not adds and key not in [*known, *groups] and not key.startswith("hydra"):
                return _unknown(command, key, known, choice)
    return None


def _compositions(
    composer: ConfigLoaderImpl, command: str, of_groups: list[Override]
) -> Iterator[tuple[str, list[str]]]:
    """(what a sweep chose, "" without one; the keys there are then) for each combination of the groups' options, a few at most."""
    swept = [o.is_sweep_override() for o in of_groups]
    each = [
        assignments(o) if several else [o.input_line]
        for o, several in zip(of_groups, swept, strict=True)
    ]
    for lines in itertools.islice(itertools.product(*each), 64):
        config = OmegaConf.to_container(
            composer.load_configuration(command, list(lines), RunMode.RUN), resolve=False
        )
        del config["hydra"]
        choice = " ".join(
            line.lstrip("+") for line, several in zip(lines, swept, strict=True) if several
        )
        yield choice, [key for key, _ in messages.flat(config)]


def _unknown(command: str, key: str, known: Sequence[str], choice: str = "") -> ConfigError:
    """The line for a key that `command` does not have; `choice`: of the sweep's job that lacks it."""
    other = {"train": "evaluate", "evaluate": "train"}[command]
    if key.partition(".")[0] in [
        found.name for found in [*catalogue.groups(other), *catalogue.keys(other)]
    ]:
        here = [found.name for found in [*catalogue.groups(command), *catalogue.keys(command)]]
        if key.partition(".")[0] not in here:
            return messages.of_the_other(command, key, other)
    return messages.unknown_key(command, key, known, choice)


def refuse_gaps(command: str, config: DictConfig) -> None:
    """ConfigError for a key that must be given, one that `command` does not have (`+foo=1` adds it), and an interpolation to nothing."""
    known = [key.name for key in [*catalogue.groups(command), *catalogue.keys(command)]]
    for key, value in messages.flat(OmegaConf.to_container(config, resolve=False)):
        if value == "???":
            raise messages.no_value(command, key)
        if "." not in key and key not in known:
            raise _unknown(command, key, known)
    try:
        OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
