"""Reverse: a string of random symbols, then the same backwards. The answer's symbol stands farther back with each one said."""

from dataclasses import dataclass

from lengthgen.datasets.tasks import Settings, TaskDataset
from lengthgen.sources.strings import Strings, backwards
from lengthgen.typed import check


@dataclass
class Config(Settings):
    label: str = "reverse"  # name in tables and figures
    n_symbols: int = 32  # different symbols of the strings

    def __post_init__(self):
        super().__post_init__()
        check(self.n_symbols >= 2, f"dataset.n_symbols={self.n_symbols}: expected at least 2")


class Reverse(TaskDataset):
    Config = Config

    def make_task(self) -> Strings:
        return Strings(self.config.n_symbols, backwards)
