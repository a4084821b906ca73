"""Tasks with one right answer, as documents: an example is prompt, separator, answer and end.

    4 1 2 = 4 1 2 . 7 = 7 .      copy, sizes 3 and 1; the separator is written = and the end .
          ^ ^ ^ ^     ^ ^        the answers: the symbols behind a separator up to the end

Training documents (`full`) are filled with examples: the first size is drawn uniformly from those
that fit, the next from those that fit into the rest, until none does; the examples are shuffled,
and pads fill what is left. Large examples are thus rarer than small ones, and every size has about
as many symbols. An example may stand anywhere, so that every position up to the training length is
trained. (With one example at the beginning of each window, only the largest would train late
positions, and a scheme could fail there for want of training.)

Evaluation documents (`one`) begin with the largest example that fits; pads follow. Beyond the
training length both the size and the positions are new.

Symbols: 0 .. n_content - 1 are the task's own, then the separator, the end and the pad. Shape
letter: T symbols of a document.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lengthgen.data.sources.draws import Draws

MARKS = 3  # separator, end, pad


class Task(Protocol):
    """`size` is in the task's unit (symbols, digits, pairs), from 1."""

    @property
    def n_content(self) -> int:
        """Symbols of prompts and answers: 0 .. n_content - 1."""

    def length(self, size: int) -> int:
        """Symbols of an example, separator and end included; linear in the size."""

    def example(self, draws: Draws, size: int) -> tuple[np.ndarray, np.ndarray]:
        """(prompt, answer), int64 each, together length(size) - 2 symbols."""

    def scored(self, symbols: np.ndarray) -> np.ndarray:
        """bool, as `symbols`: which of them are scored where they stand behind a separator."""


class WholeAnswers:
    """For tasks whose every symbol behind the separator is scored."""

    def scored(self, symbols: np.ndarray) -> np.ndarray:
        return np.ones(np.shape(symbols), dtype=bool)


@dataclass(frozen=True)
class Packed:
    """Documents of one task's examples."""

    task: Task

    @property
    def n_symbols(self) -> int:
        return self.task.n_content + MARKS

    @property
    def separator(self) -> int:
        return self.task.n_content

    @property
    def end(self) -> int:
        return self.task.n_content + 1

    @property
    def pad(self) -> int:
        return self.task.n_content + 2

    def largest(self, room: int) -> int:
        """The largest size whose example takes at most `room` symbols; 0 if none does."""
        least = self.task.length(1)
        return 0 if room < least else 1 + (room - least) // (self.task.length(2) - least)

    def full(self, draws: Draws, length: int) -> np.ndarray:
        """(length,) int64: examples of drawn sizes, as many as fit."""
        sizes: list[int] = []
        room = length
        while largest := self.largest(room):
            sizes.append(1 + int(draws.integers(largest, 1)[0]))
            room -= self.task.length(sizes[-1])
        order = np.argsort(draws.uniform(len(sizes)), kind="stable")
        return self._padded([self._example(draws, sizes[place]) for place in order], length)

    def one(self, draws: Draws, length: int) -> np.ndarray:
        """(length,) int64: one example, the largest that fits. ValueError if none does."""
        if size := self.largest(length):
            return self._padded([self._example(draws, size)], length)
        least = self.task.length(1)
        raise ValueError(f"{length} symbols hold no example; expected at least {least}")

    def answers(self, symbols: np.ndarray) -> np.ndarray:
        """(..., T) bool: which symbols of whole documents are scored."""
        symbols = np.asarray(symbols)
        marks = (symbols == self.separator).astype(np.int64) - (symbols == self.end)
        # separators minus ends before each symbol: 1 inside an answer
        behind = np.cumsum(marks, axis=-1) - marks
        return (behind > 0) & self.task.scored(symbols)

    def _example(self, draws: Draws, size: int) -> np.ndarray:
        prompt, answer = self.task.example(draws, size)
        return np.concatenate((prompt, [self.separator], answer, [self.end]))

    def _padded(self, examples: list[np.ndarray], length: int) -> np.ndarray:
        document = np.full(length, self.pad, dtype=np.int64)
        filled = np.concatenate(examples)
        document[: len(filled)] = filled
        return document
