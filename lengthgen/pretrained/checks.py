"""What a model's folder may hold. All of it comes from strangers, and is checked before it is used.

Weights are read from safetensors or GGUF, never from a pickle; code that lies beside them never
runs; and a configuration whose numbers this machine could not hold is refused before a tensor is
made. A file that is no more than damaged is refused in one line as well.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lengthgen.errors import DataError
from lengthgen.pretrained.source import Source

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")
CONFIG_BYTES = 2**22
HEADER_BYTES = 10**8  # the limit of safetensors itself
# A part of a key's name -> the largest value it may have; no known decoder has half of it.
LARGEST = {"layers": 2000, "layer": 2000, "heads": 2**14, "vocab": 2**22, "size": 2**20,
           "embd": 2**20, "model": 2**20, "dim": 2**20, "inner": 2**20}  # fmt: skip
LARGEST_OTHER = 2**40


def check(source: Source) -> None:
    """DataError, in one line, for whatever of a source lengthgen does not read."""
    if source.gguf:
        _check_gguf(source.folder / source.gguf)
        return
    config = read_config(source.folder)
    if not source.weights:
        pickles = [each.name for each in source.folder.iterdir() if each.suffix in PICKLES]
        if pickles:
            raise DataError(
                f"{source.name}: its weights are in {min(pickles)}, a pickle, which could run code "
                "of a stranger; expected *.safetensors: convert it where you trust it, or choose "
                "a revision that has them"
            )
        raise DataError(f"{source.name}: no weights; expected *.safetensors beside config.json")
    for key, value in _numbers(config):
        _check_number(source, key, value)
    for path in source.weights:
        stored_elements(path)


def read_config(folder: Path) -> dict[str, Any]:
    """config.json as it stands. DataError unless it is an object of JSON of a sound size."""
    path = folder / "config.json"
    try:
        if path.stat().st_size > CONFIG_BYTES:
            raise DataError(f"{path.name} of {folder.name} has over {CONFIG_BYTES} bytes")
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or "no JSON"
        raise DataError(
            f"{folder.name}: config.json: {reason}; expected a folder of transformers, with "
            "config.json and *.safetensors"
        ) from None
    if not isinstance(config, dict):
        raise DataError(f"{folder.name}: config.json holds no object")
    return config


def stored_elements(path: Path) -> int:
    """How many numbers a safetensors file holds, by its header. DataError where it is damaged."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size > min(HEADER_BYTES, path.stat().st_size):
                raise ValueError(f"a header of {size} bytes")
            header = json.loads(file.read(size))
            data = path.stat().st_size - 8 - size
        tensors = [each for name, each in header.items() if name != "__metadata__"]
        if any(not 0 <= a <= b <= data for a, b in (each["data_offsets"] for each in tensors)):
            raise ValueError("a tensor past the end of the file")
        return sum(math.prod(each["shape"]) for each in tensors)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        words = " ".join(str(error).split())[:80]
        raise DataError(
            f"{path.name} is no whole safetensors file ({words}); get it anew"
        ) from None


def _check_gguf(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise DataError(f"{path.name} is no GGUF file")


def _numbers(config: Any, key: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(config, bool):
        return
    if isinstance(config, int | float):
        yield key, config
    elif isinstance(config, Mapping):
        for name, value in config.items():
            yield from _numbers(value, str(name))
    elif isinstance(config, list):
        for value in config:
            yield from _numbers(value, key)


def _check_number(source: Source, key: str, value: float) -> None:
    words = re.split(r"[^a-z]+", key.lower())
    most = min((LARGEST[word] for word in words if word in LARGEST), default=LARGEST_OTHER)
    if not math.isfinite(value) or abs(value) > most:
        raise DataError(
            f"{source.name}: config.json: {key}={value:.6g}: expected a number of at most {most}"
        )
