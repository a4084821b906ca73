"""The tokeniser of a pretrained model: a folder's tokenizer files, or a GGUF file.

Read by the library transformers, without any code of the folder, and used through the library
`tokenizers`. An id stands for the bytes that it adds to a text: those of byte-level BPE, or a piece
of SentencePiece, whose U+2581 is a blank and whose <0x0A> is a byte. Special ids stand for none.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lengthgen import files
from lengthgen.config import paths
from lengthgen.data import hub
from lengthgen.data.byte_level import alphabet, encode
from lengthgen.data.tokenizer import Texts, Tokenizer
from lengthgen.errors import ConfigError, DataError

FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "merges.txt")
BYTE = re.compile(r"<0x([0-9A-F]{2})>")
BLANK = "\u2581"
# Where the model names no token that begins a text.
BEGINS = ("<|endoftext|>", "<s>", "</s>")


@dataclass
class Pretrained:
    """The tokeniser of a model of transformers, as it is."""

    folder: str = ""  # of the model's files, with its tokenizer.json
    gguf: str = ""  # the GGUF file in it that holds the tokenizer; empty: tokenizer.json

    def request(self) -> str:
        if not self.folder:
            raise ConfigError("tokenizer=pretrained: give tokenizer.folder=FOLDER of a model")
        folder = paths.folder(self.folder, "tokenizer.folder")
        names = [self.gguf] if self.gguf else [n for n in FILES if (folder / n).is_file()]
        if not names or not all((folder / name).is_file() for name in names):
            raise DataError(
                f"tokenizer.folder={self.folder}: no {self.gguf or 'tokenizer.json'} in it"
            )
        sums = {name: files.sha256(folder / name) for name in names}
        return f"pretrained {hashlib.sha256(json.dumps(sums).encode()).hexdigest()}"

    def build(self, texts: Texts, cache: Path) -> Tokenizer:
        model, begin = self._read()
        definition = json.loads(model.to_str())
        pieces = _pieces(model, definition)
        model.encode_special_tokens = True  # a text that spells a special token is still text
        digest = hashlib.sha256(model.to_str().encode()).hexdigest()[:8]
        by_parts = _is_byte_level(definition)

        def ids_of(text: bytes) -> np.ndarray:
            return encode(model, text, by_parts)

        return Tokenizer(f"pretrained-{len(pieces)}-{digest}", pieces, ids_of, begin)

    def _read(self) -> tuple[Any, int]:
        """The tokenizer of the library `tokenizers`, and the id that begins a document."""
        try:
            import transformers
        except ImportError:
            raise ConfigError(
                'tokenizer=pretrained needs transformers: pip install "lengthgen[pretrained]"'
            ) from None
        transformers.logging.set_verbosity_error()
        given = {"gguf_file": self.gguf} if self.gguf else {}
        try:
            read = transformers.AutoTokenizer.from_pretrained(  # nosec B615 # a local folder
                paths.folder(self.folder, "tokenizer.folder"),
                local_files_only=True,
                trust_remote_code=False,
                **given,
            )
            model = read.backend_tokenizer
        except Exception as error:  # many kinds, from several libraries
            raise DataError(
                f"tokenizer of {Path(self.folder).name}: transformers cannot read it: "
                f"{hub.first_line(error)}"
            ) from None
        named = (read.bos_token_id, read.eos_token_id, *map(model.token_to_id, BEGINS))
        begin = next((each for each in named if each is not None), None)
        if begin is None:
            raise DataError(
                f"tokenizer of {Path(self.folder).name}: it names no token that begins a text"
            )
        return model, int(begin)


def begins(folder: str, gguf: str = "") -> tuple[int, bool]:
    """The id that begins a document, and whether the tokeniser itself puts it before a text."""
    model, begin = Pretrained(folder, gguf)._read()
    return begin, model.encode("a").ids[:1] == [begin]


def _is_byte_level(definition: Mapping[str, Any]) -> bool:
    return '"ByteLevel"' in json.dumps(definition.get("pre_tokenizer"))


def _pieces(model: Any, definition: Mapping[str, Any]) -> list[bytes]:
    """The bytes of each id; b"" for special ones and for ids without a token."""
    added = {each["id"]: each for each in definition.get("added_tokens") or []}
    vocabulary = model.get_vocab(with_added_tokens=True)
    letters = alphabet() if _is_byte_level(definition) else None
    pieces = [b""] * (max(vocabulary.values()) + 1)
    for symbol, number in vocabulary.items():
        if number in added:
            content = b"" if added[number]["special"] else symbol.encode()
        elif letters is not None:
            content = b"".join(bytes([letters[c]]) if c in letters else c.encode() for c in symbol)
        elif byte := BYTE.fullmatch(symbol):
            content = bytes([int(byte[1], 16)])
        else:
            content = symbol.replace(BLANK, " ").encode()
        pieces[number] = content
    return pieces
