"""Sorting: a string of random symbols, then the same in rising order.

Where the symbols stand does not matter: a task without positions.
"""

from dataclasses import dataclass

from lengthgen.data.datasets.tasks import StringSettings, StringTask
from lengthgen.data.sources.strings import ordered


@dataclass
class Config(StringSettings):
    label: str = "sorting"
    # different symbols of the strings; with few, repeating the last one is mostly right
    n_symbols: int = 128


class Sorting(StringTask):
    Config = Config
    answer = staticmethod(ordered)
