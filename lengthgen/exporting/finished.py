"""A finished run as an export needs it: its model on the CPU, tokeniser, text and provenance."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lengthgen import files
from lengthgen.config import yaml_files
from lengthgen.data import tokenizers
from lengthgen.data.documents import Reader
from lengthgen.data.splits import default_cache, make_dataset
from lengthgen.data.tokenizers import Tokenizer
from lengthgen.errors import CheckpointError, ConfigError
from lengthgen.model import Transformer
from lengthgen.runs import retrofitting, stored, train_config
from lengthgen.runs.folder import RunFolder
from lengthgen.runs.prepare import Run


@dataclass(frozen=True, eq=False)
class Finished:
    folder: RunFolder
    run: Run
    model: Transformer

    @property
    def id(self) -> str:
        return self.folder.path.name

    @property
    def label(self) -> str:
        return self.run.config.label

    @property
    def train_length(self) -> int:
        return self.run.config.settings.train_length

    @property
    def evaluation_id(self) -> str:
        return self.run.evaluation_id

    @property
    def retrofit(self) -> dict[str, Any] | None:
        """The name and the options of the retrofit around the model."""
        return self.run.config.retrofit.as_dict() if self.run.config.retrofit else None

    @property
    def weights_sha256(self) -> str:
        return self.folder.ended["weights_sha256"]

    @cached_property
    def provenance(self) -> dict[str, Any]:
        return files.read_json(self.folder.provenance, {})

    @cached_property
    def config(self) -> dict[str, Any]:
        """The run's config.yaml."""
        return train_config.plain(yaml_files.load(self.folder.config))

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """ConfigError where the text gives another one now than when the run was trained."""
        config = self.run.config
        dataset = make_dataset(config.dataset, config.dataset_folders)
        recipe: tokenizers.Recipe = (
            tokenizers.configured(config.tokenizer)
            if dataset.symbols is None
            else tokenizers.Symbols(dataset.symbols)
        )
        cache = default_cache() if not config.settings.cache else config.settings.cache
        made = recipe.build(lambda: Reader(dataset).training_texts(), _path(cache))
        if made.key != self.run.splits.tokenizer:
            raise ConfigError(
                f"the tokenizer is {made.key} now, {self.run.splits.tokenizer} in the run's data; "
                "train the run again to export it"
            )
        return made

    def text(self, length: int) -> np.ndarray:
        """(length,): the beginning of the validation documents, one after the other."""
        store, parts, have = self.run.splits.validation, [], 0
        for number in range(store.n_documents):
            parts.append(store.document(number).numpy()[: length - have])
            have += len(parts[-1])
            if have == length:
                break
        tokens = np.concatenate(parts)
        return np.resize(tokens, length)

    def facts(self) -> dict[str, Any]:
        """What own_code.transformer builds the model from."""
        whole, settings = self.run.config.as_dict(), self.run.config.settings
        model = {key: value for key, value in whole["model"].items() if key != "name"}
        return {
            "model": model,
            "scheme": whole["scheme"],
            "modifiers": whole["modifiers"],
            "train_length": settings.train_length,
            "vocab_size": self.model.embedding.num_embeddings,
            "seed": settings.seed,
            "steps": settings.steps,
        }

    def refuse_own_code(self) -> None:
        """ConfigError where own_code.transformer cannot build the model."""
        if self.run.config.retrofit:
            raise ConfigError("--own-code exports what was trained: leave the retrofit out")
        for choice in (self.run.config.scheme, *self.run.config.modifiers):
            if choice.from_user:
                raise ConfigError(
                    f"{choice.name} is code of your own, which no export carries: make it a part "
                    "of lengthgen (CONTRIBUTING.md), or share the run's folder"
                )


def load(
    folder: RunFolder, trust_code: bool = False, retrofit: Mapping[str, Any] | None = None
) -> Finished:
    """A run with a retrofit (its name and options) around what was trained, if one is given.

    CheckpointError unless the run is finished and its files are as they were written. ConfigError
    for a retrofit that does not fit it.
    """
    if not folder.ended:
        raise CheckpointError(
            f"run {folder.path.name} is not finished; run its training command again first"
        )
    if faults := folder.faults:
        raise CheckpointError(
            f"run {folder.path.name}: {faults[0]}; run its training command again first"
        )
    changed = {"retrofit": retrofit, "device": "cpu"}
    run = stored.stored_run(folder, changed, trust_code=trust_code)
    model = stored.with_weights(run, folder)
    retrofitting.apply(run, model)
    return Finished(folder, run, model)


def _path(cache: Any) -> Any:
    from lengthgen.config import paths

    return paths.folder(cache, "cache")
