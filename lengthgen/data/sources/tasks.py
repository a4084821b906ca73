"""Tasks with one right answer, as documents: an example is a prompt, a separator, the answer and an end. Only answers are asked about.

    4 1 2 = 4 1 2 . 7 = 7 .      copy: examples of the sizes 3 and 1, with the separator written = and the end written .
          ^ ^ ^ ^     ^ ^        the answers: the symbols behind a separator, the end among them

What a model is trained on (`full`): documents filled with examples. The first size is drawn from 1 up to the largest that fits, all alike,
the next one from those that fit into what is left, until none does; the examples are then put in a random order, and pads fill the rest.
Small examples are many and large ones few, so that each size has about as many symbols as another, and late places of answers are rare.
So every size up to the largest occurs, and an example may stand anywhere in the window: every position up to the training length is
trained, as far as the lengths of examples let an answer stand there. (With one example a window, always at its beginning, late positions
would be met by the largest examples alone, and a scheme could fail at them for want of training: part of what older comparisons call
failure to generalise.)

What it is asked (`one`): a single example of the largest size that fits the document's length, at its beginning, pads behind it. At a
length beyond training both the size and the positions are new.

Symbols: 0 .. n_content - 1 are the task's own, then the separator, the end and the pad. Shape letter: T symbols of a document.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lengthgen.data.sources.draws import Draws

MARKS = 3  # separator, end, pad


class Task(Protocol):
    """What a task offers. `size` is its own unit (symbols, digits, pairs), from 1."""

    @property
    def n_content(self) -> int:
        """Symbols of prompts and answers: 0 .. n_content - 1."""

    def length(self, size: int) -> int:
        """Symbols of an example, separator and end among them. Every unit of size adds the same number."""

    def example(self, draws: Draws, size: int) -> tuple[np.ndarray, np.ndarray]:
        """(prompt, answer), int64 each, together length(size) - 2 symbols."""

    def asked(self, symbols: np.ndarray) -> np.ndarray:
        """bool, as `symbols`: which of them, where they stand behind a separator, are asked for (others are given)."""


class WholeAnswers:
    """For tasks that ask for every symbol behind the separator."""

    def asked(self, symbols: np.ndarray) -> np.ndarray:
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
        sizes, room = [], length
        while largest := self.largest(room):
            sizes.append(1 + int(draws.integers(largest, 1)[0]))
            room -= self.task.length(sizes[-1])
        order = np.argsort(draws.uniform(len(sizes)), kind="stable")
        return self._padded([self._example(draws, sizes[place]) for place in order], length)

    def one(self, draws: Draws, length: int) -> np.ndarray:
        """(length,) int64: one example, the largest that fits. ValueError if none does."""
        size = self.largest(length)
        if not size:
            raise ValueError(
                f"{length} symbols hold no example; expected at least {self.task.length(1)}"
            )
        return self._padded([self._example(draws, size)], length)

    def answers(self, symbols: np.ndarray) -> np.ndarray:
        """(..., T) bool: which symbols of whole documents are asked for: those behind a separator up to the end, as the task has it."""
        symbols = np.asarray(symbols)
        marks = (symbols == self.separator).astype(np.int64) - (symbols == self.end)
        behind = np.cumsum(marks, axis=-1) - marks  # of the symbols before each one
        return (behind > 0) & self.task.asked(symbols)

    def _example(self, draws: Draws, size: int) -> np.ndarray:
        prompt, answer = self.task.example(draws, size)
        return np.concatenate((prompt, [self.separator], answer, [self.end]))

    def _padded(self, examples: list[np.ndarray], length: int) -> np.ndarray:
        document = np.full(length, self.pad, dtype=np.int64)
        filled = np.concatenate(examples)
        document[: len(filled)] = filled
        return document
