"""`lengthgen list datasets --profile NAME ... [KEY=VALUE ...]`: what context is worth in each.

Imports torch, as the tokens of a dataset are read through it; computes on NumPy alone.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lengthgen.config import compose
from lengthgen.errors import ConfigError
from lengthgen.reporting.text_tables import aligned

if TYPE_CHECKING:
    from lengthgen.data.profile import Profile

NOTE = """\
Loss in nats a token with the last k tokens of context, of a predictor that counts what followed the
same strings (lengthgen/statistics/context_model.py): no floor for a Transformer, and blind to
patterns with gaps. Gains are from {L} tokens of context on, with 95 % intervals over documents:
where they are near 0, do not expect a use of longer context. I(k): mutual information, in nats, of
two tokens of the training text k places apart."""


def table(words: Sequence[str], config_dir: Path | None = None) -> str:
    """words: names of datasets, and KEY=VALUE for all of them. ConfigError without a name."""
    names = [word for word in words if "=" not in word]
    overrides = [word for word in words if "=" in word]
    if not names:
        raise ConfigError(f"--profile {' '.join(words)}: expected at least one name of a dataset")
    return text_of([profiled(name, overrides, config_dir) for name in names])


def profiled(name: str, overrides: Sequence[str], config_dir: Path | None = None) -> "Profile":
    """The profile of one dataset, from the cache where it is there."""
    from omegaconf import OmegaConf

    from lengthgen.data import profile
    from lengthgen.data.splits import default_cache, prepare_splits
    from lengthgen.runs import train_config

    composed = compose.compose([f"dataset={name}", *overrides], config_dir=config_dir)
    folders = [config_dir] if config_dir else []
    plain = cast(dict[str, Any], OmegaConf.to_container(composed, resolve=True))
    config = train_config.check(plain, folders)
    cache = Path(config.settings.cache) if config.settings.cache else default_cache()
    splits = prepare_splits(config.dataset, config.tokenizer, cache, config.dataset_folders)
    return profile.profile(splits, config.settings.train_length, cache)


def text_of(profiles: Sequence["Profile"]) -> str:
    """Three tables: losses by context, gains beyond the training length, mutual information."""
    from lengthgen.data.profile import GAINS

    windows = sorted({k for profile in profiles for k in profile.windows})
    distances = sorted({k for profile in profiles for k in profile.distances})
    losses, gains, shared = [], [], []
    for found in profiles:
        of = f"{found.label}, {found.tokenizer}"
        losses.append([of, *_cells(windows, found.windows, found.losses)])
        if any(map(math.isfinite, found.floors)):
            losses.append([f"{of}: exact floor", *_cells(windows, found.windows, found.floors)])
        triples = zip(found.gains, found.lows, found.highs, strict=True)
        length = str(found.train_length)
        counts = f"{found.n_targets:,} in {found.n_documents}"
        gains.append([of, length, counts, f"{found.counted:,}", *(_interval(*t) for t in triples)])
        shared.append([of, *_cells(distances, found.distances, found.information, 4)])
    head = [f"to {factor} L" for factor in GAINS]
    length = " or ".join(map(str, sorted({found.train_length for found in profiles})))
    return "\n\n".join(
        [
            aligned(["loss with the last k tokens", *map(str, windows)], losses),
            aligned(["gain from context", "L", "targets, documents", "counted", *head], gains),
            aligned(["I(k)", *map(str, distances)], shared),
            NOTE.format(L=length),
        ]
    )


def _cells(
    columns: Sequence[int], places: Sequence[int], values: Sequence[float], digits: int = 3
) -> list[str]:
    found = dict(zip(places, values, strict=True))
    return [
        f"{found[place]:.{digits}f}" if math.isfinite(found.get(place, math.nan)) else "-"
        for place in columns
    ]


def _interval(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return "-"
    if not math.isfinite(low):
        return f"{value:+.3f}"
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"
