"""Reading what runs left: a trained model with its data, and tables over many runs."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from omegaconf import DictConfig, OmegaConf

from lengthgen.config import paths
from lengthgen.data import tokenizers
from lengthgen.data.documents import Reader
from lengthgen.data.splits import Splits, default_cache, make_dataset
from lengthgen.data.tokenizers import Tokenizer
from lengthgen.errors import ConfigError
from lengthgen.model import Transformer
from lengthgen.runs import stored
from lengthgen.runs.folder import find

if TYPE_CHECKING:
    import pandas as pd

TABLES = ("lengths", "documents", "positions", "summary")


@dataclass(frozen=True)
class LoadedRun:
    """A trained run. Its model is in evaluation mode."""

    model: Transformer
    tokenizer: Tokenizer
    data: Splits
    config: DictConfig
    folder: Path


def load_run(name: str, results: Path | str = "results", *, trust_code: bool = False) -> LoadedRun:
    """A finished run by its id, a part of it that no other run shares, or its folder.

    trust_code: run the code that the run's folder keeps, where it was trained with a user's own.
    Raises ConfigError (no such run), CheckpointError (no weights) and DataError (other data).
    """
    folder = find(paths.folder(results, "results"), str(name))
    model, splits = stored.trained_model(folder, trust_code)
    config = cast(DictConfig, OmegaConf.load(folder.config))
    dataset = make_dataset(config.dataset, [folder.path / "dataset"])
    cache = paths.folder(config.cache, "cache") if config.cache else default_cache()
    coding: tokenizers.Recipe = (
        tokenizers.configured(config.tokenizer)
        if dataset.symbols is None
        else tokenizers.Symbols(dataset.symbols)
    )
    # Only real text is read to build a tokenizer; symbols are ready-made.
    tokenizer = coding.build(lambda: Reader(dataset).training_texts(), cache)
    return LoadedRun(model, tokenizer, splits, config, folder.path)


def load_results(results: Path | str = "results", table: str = "lengths") -> "pd.DataFrame":
    """A tidy table over every finished evaluation under results/runs.

    table: "lengths" (a metric at a length), "documents" (the loss of a document), "positions" (loss
    by position) or "summary" (means over seeds, with intervals). Columns: results/README.md.
    Empty without runs. A damaged evaluation is left out, with a warning.
    """
    from lengthgen.reporting import tables

    if table not in TABLES:
        raise ConfigError(f"table={table!r}: expected one of {', '.join(TABLES)}")
    collected = tables.collect(paths.folder(results, "results"))
    for fault in collected.faults:
        warnings.warn(fault.line, stacklevel=2)
    if table == "summary":
        return tables.summarise(collected.documents, collected.lengths)
    return getattr(collected, table)
