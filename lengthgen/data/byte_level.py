"""Byte-level tokenisers of the library `tokenizers`: every text has ids, every id has its bytes.

Source: Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), section 2.2.
"""

import hashlib
from typing import Any

import numpy as np

from lengthgen.data import hub
from lengthgen.data.pieces import pieces as parts_of
from lengthgen.data.tokenizer import Tokenizer
from lengthgen.errors import DataError


def byte_level(definition: str, kind: str, place: str, begin: str | None = None) -> Tokenizer:
    """A Tokenizer from the JSON of the library `tokenizers`; begin: None is one more id."""
    import tokenizers

    try:
        model = tokenizers.Tokenizer.from_str(definition)
    except Exception as error:  # the library raises bare Exception
        raise DataError(f"{place} is not a tokenizer.json: {hub.first_line(error)}") from None
    vocabulary = model.get_vocab(with_added_tokens=True)
    symbols = [s for s in sorted(vocabulary, key=vocabulary.__getitem__) if s != begin]
    consecutive = sorted(vocabulary.values()) == list(range(len(vocabulary)))
    if not consecutive or (begin and vocabulary.get(begin) != len(symbols)):
        last = begin or "no special token"
        raise DataError(f"{place}: expected ids 0, 1, ... with {last} as the last one")
    letters = alphabet()
    try:
        pieces = [bytes(letters[character] for character in symbol) for symbol in symbols] + [b""]
    except KeyError as error:
        reason = f"not byte-level (it has the character {error})"
        raise DataError(f"{place} is {reason}; expected a GPT-2-like tokenizer.json") from None
    model.encode_special_tokens = True  # a text that spells a special token is still text
    key = f"{kind}-{len(pieces)}-{hashlib.sha256(model.to_str().encode()).hexdigest()[:8]}"
    return Tokenizer(key, pieces, lambda text: encode(model, text), definition=definition)


def encode(model: Any, text: bytes, by_parts: bool = True) -> np.ndarray:
    """(n,) int32: the ids of a UTF-8 text, without special ones. DataError for other bytes.

    by_parts: a long text is encoded a part at a time, which is the same where the tokeniser
    changes nothing before it divides a text.
    """
    try:
        whole = text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"a document is not UTF-8 text (offset {error.start}), which this tokenizer needs: "
            "mend it, or give tokenizer=bytes"
        ) from None
    if not by_parts:
        return np.array(model.encode(whole, add_special_tokens=False).ids, dtype=np.int32)
    runs = model.pre_tokenizer
    tokens = runs.pre_tokenize_str if runs else lambda part: [(part, (0, len(part)))]
    encoded = (model.encode(part, add_special_tokens=False) for part in parts_of(whole, tokens))
    parts = [np.array(part.ids, dtype=np.int32) for part in encoded]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int32)


def alphabet() -> dict[str, int]:
    """GPT-2's printable stand-in for each byte: visible Latin-1 itself, else 256, 257, ..."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [value for value in range(256) if value not in set(visible)]
    stand_ins = {chr(256 + index): value for index, value in enumerate(hidden)}
    return {chr(value): value for value in visible} | stand_ins
