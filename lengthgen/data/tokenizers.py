"""Tokenisers: bytes (the default), byte-level BPE trained on the train split, GPT-2's, and those of
pretrained models (pretrained_tokenizer.py).

The others are byte-level: every text has ids and every id has its bytes, so that losses in bits
per byte compare. BPE: Sennrich et al., ACL 2016; on bytes: Radford et al. 2019. Their id that
begins every document is the last one.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lengthgen import files
from lengthgen.config.dataclass_from import build, check, choice, limit
from lengthgen.data import hub, interruptible, shown
from lengthgen.data.byte_level import alphabet, byte_level
from lengthgen.data.pieces import pieces
from lengthgen.data.pretrained_tokenizer import Pretrained
from lengthgen.data.tokenizer import Recipe, Texts, Tokenizer
from lengthgen.errors import ConfigError, DataError

log = logging.getLogger(__name__)


@dataclass
class Bytes:
    """One id a byte; 256 begins a document."""

    def request(self) -> str:
        return "bytes"

    def build(self, texts: Texts, cache: Path) -> Tokenizer:
        pieces = [bytes([value]) for value in range(256)] + [b""]
        ids = np.uint16
        return Tokenizer("bytes", pieces, lambda text: np.frombuffer(text, np.uint8).astype(ids))


@dataclass
class Bpe:
    """Byte-level BPE by the library `tokenizers`, cached by the hash of its training text."""

    # ids, the 256 bytes and the begin-of-document token among them; fewer for little text
    vocab_size: int = 4096
    training_bytes: int = 50_000_000  # learnt from so many first bytes of the train split

    def __post_init__(self):
        check(
            257 <= self.vocab_size <= 2**24,
            f"tokenizer.vocab_size={self.vocab_size}: expected 257 (bytes alone) to {2**24}",
        )
        limit(self, "tokenizer", "> 0", "training_bytes")

    def request(self) -> str:
        import tokenizers

        return f"bpe {self.vocab_size} {self.training_bytes} {tokenizers.__version__}"

    def build(self, texts: Texts, cache: Path) -> Tokenizer:
        fingerprint, n_bytes = hashlib.sha256(self.request().encode()), 0
        for text in self._training(texts):
            fingerprint.update(len(text).to_bytes(8, "little") + text)
            n_bytes += len(text)
        path = cache / "tokenizers" / f"bpe-{fingerprint.hexdigest()[:16]}.json"
        if path.is_file():
            try:
                return byte_level(_stored(path), "bpe", str(path))
            except DataError as error:
                log.warning("%s; training the tokenizer again", str(error).split(";")[0])
        with shown.learning(n_bytes) as progress:
            trained = interruptible.run(
                lambda stoppable: self._train(texts, stoppable, progress.advance)
            )
        files.write_sealed(path, {"tokenizer": json.loads(trained)})
        return byte_level(trained, "bpe", str(path))

    def _training(self, texts: Texts) -> Iterator[bytes]:
        """The first training_bytes of the texts."""
        left = self.training_bytes
        for text in texts():
            yield text[:left]
            left -= len(text)
            if left <= 0:
                return

    def _train(
        self,
        texts: Texts,
        stoppable: Callable[[Iterable[str]], Iterator[str]],
        advance: Callable[[int, str], None],
    ) -> str:
        """The tokeniser's JSON. advance: gets how many bytes were read, and what is being done."""
        import tokenizers

        model = tokenizers.Tokenizer(tokenizers.models.BPE())
        model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=self.vocab_size - 1, initial_alphabet=sorted(alphabet()), show_progress=False
        )
        # "ignore": the cut after training_bytes may split a character
        decoded = (text.decode("utf-8", "ignore") for text in self._training(texts))
        runs = model.pre_tokenizer.pre_tokenize_str

        def parts() -> Iterator[str]:
            n_bytes = 0
            for part in (part for text in decoded for part in pieces(text, runs)):
                yield part
                n_bytes += len(part.encode())
                advance(n_bytes, "counting words")
            advance(n_bytes, f"learning {self.vocab_size - 257:,} merges")

        model.train_from_iterator(stoppable(parts()), trainer)
        return model.to_str()


@dataclass
class Gpt2:
    """GPT-2's 50,257 ids, from a file, the Hugging Face cache, or the hub."""

    path: str | None = None  # a local tokenizer.json; null: the Hugging Face cache or hub
    repository: str = "openai-community/gpt2"  # where the hub has it

    BEGIN = "<|endoftext|>"

    def request(self) -> str:
        if self.path is None:
            return f"gpt2 {self.repository}"
        return f"gpt2 {hashlib.sha256(self._read(Path(self.path)).encode()).hexdigest()}"

    def build(self, texts: Texts, cache: Path) -> Tokenizer:
        instead = "tokenizer.path=FILE or tokenizer=bpe"
        path = Path(self.path or hub.download(self.repository, "tokenizer.json", instead))
        return byte_level(self._read(path), "gpt2", str(path), begin=self.BEGIN)

    def _read(self, path: Path) -> str:
        try:
            return path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"tokenizer.path={path}: {reason}; expected a tokenizer.json") from None


@dataclass
class Symbols:
    """The symbols 0 .. count - 1 of a synthetic dataset; `count` begins a document."""

    count: int

    def request(self) -> str:
        return f"symbols {self.count}"

    def build(self, texts: Texts, cache: Path) -> Tokenizer:
        width = 1 if self.count <= 256 else 2  # bytes that a symbol would take in a file
        pieces = [value.to_bytes(width, "little") for value in range(self.count)] + [b""]
        return Tokenizer(f"symbols-{self.count}", pieces, np.asarray)


KINDS: dict[str, type] = {"bytes": Bytes, "bpe": Bpe, "gpt2": Gpt2, "pretrained": Pretrained}


def configured(options: Mapping[str, Any]) -> Recipe:
    """The tokeniser that a configuration describes, untrained. Raises ConfigError."""
    options = dict(options)
    if "name" not in options:
        raise ConfigError(f"tokenizer has no name; expected one of {', '.join(KINDS)}")
    name = options.pop("name")
    choice("tokenizer", name, tuple(KINDS))
    return build(KINDS[name], options, "tokenizer")


def _stored(path: Path) -> str:
    """The definition in a file of the cache, which before there were sums held it alone."""
    content = files.read_sealed(path) or {}
    return json.dumps(content.get("tokenizer", content))
