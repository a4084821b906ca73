"""Reverse: a string of random symbols, then the same backwards.

The symbol to copy stands farther back with each step of the answer.
"""

from dataclasses import dataclass

from lengthgen.data.datasets.tasks import StringSettings, StringTask
from lengthgen.data.sources.strings import backwards


@dataclass
class Config(StringSettings):
    label: str = "reverse"


class Reverse(StringTask):
    Config = Config
    answer = staticmethod(backwards)
