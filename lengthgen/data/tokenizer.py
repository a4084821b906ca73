"""What a tokeniser is: text to ids and back, and the recipe that makes one."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

Texts = Callable[[], Iterable[bytes]]  # the training text, from its beginning at every call


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """Text to ids and back."""

    key: str  # same key, same ids
    pieces: list[bytes]  # (vocab_size) the text of each id; b"" for special ones, as `begin`
    ids_of: Callable[[Any], np.ndarray]
    begin_id: int | None = None  # of `begin`; None: the last one
    definition: str | None = None  # JSON of the library `tokenizers`, where that made it

    @property
    def vocab_size(self) -> int:
        return len(self.pieces)

    @property
    def begin(self) -> int:
        """The id that begins every document, so that its first real token has a context."""
        return self.vocab_size - 1 if self.begin_id is None else self.begin_id

    @cached_property
    def token_bytes(self) -> np.ndarray:
        """(vocab_size,) int64: how many bytes of text each id stands for."""
        return np.array([len(piece) for piece in self.pieces], dtype=np.int64)

    def encode(self, text: bytes | str | np.ndarray) -> np.ndarray:
        """(n,) integers: the ids of a text or symbols, without `begin`."""
        return self.ids_of(text.encode() if isinstance(text, str) else text)

    def decode(self, ids: Iterable[int]) -> bytes:
        return b"".join(self.pieces[i] for i in ids)


class Recipe(Protocol):
    """The configuration of a tokeniser."""

    def request(self) -> str:
        """What decides its ids beside the training text; cheap."""

    def build(self, texts: Texts, cache: Path) -> Tokenizer: ...
