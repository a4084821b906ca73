"""Sorting: a string of random symbols, then the same in rising order. Where the symbols stand does not matter: a task without positions."""

from dataclasses import dataclass

from lengthgen.data.datasets.tasks import StringSettings, TaskDataset
from lengthgen.data.sources.strings import Strings, ordered


@dataclass
class Config(StringSettings):
    label: str = "sorting"  # name in tables and figures
    n_symbols: int = 128  # different symbols of the strings; with few of them to say the last one again is mostly right


class Sorting(TaskDataset):
    Config = Config

    def make_task(self) -> Strings:
        return Strings(self.config.n_symbols, ordered)
