"""Sorting: a string of random symbols, then the same in rising order. Where the symbols stand does not matter: a task without positions."""

from dataclasses import dataclass

from lengthgen.datasets.tasks import Settings, TaskDataset
from lengthgen.sources.strings import Strings, ordered
from lengthgen.typed import check


@dataclass
class Config(Settings):
    label: str = "sorting"  # name in tables and figures
    n_symbols: int = 128  # different symbols of the strings; with few of them to say the last one again is mostly right

    def __post_init__(self):
        super().__post_init__()
        check(self.n_symbols >= 2, f"dataset.n_symbols={self.n_symbols}: expected at least 2")


class Sorting(TaskDataset):
    Config = Config

    def make_task(self) -> Strings:
        return Strings(self.config.n_symbols, ordered)
