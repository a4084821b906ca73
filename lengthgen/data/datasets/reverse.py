"""Reverse: a string of random symbols, then the same backwards. The answer's symbol stands farther back with each one said."""

from dataclasses import dataclass

from lengthgen.data.datasets.tasks import StringSettings, TaskDataset
from lengthgen.data.sources.strings import Strings, backwards


@dataclass
class Config(StringSettings):
    label: str = "reverse"  # name in tables and figures


class Reverse(TaskDataset):
    Config = Config

    def make_task(self) -> Strings:
        return Strings(self.config.n_symbols, backwards)
