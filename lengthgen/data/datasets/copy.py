"""Copy: a string of random symbols, then the same again.

The symbol to copy stands as far back as the string is long.
"""

from dataclasses import dataclass

from lengthgen.data.datasets.tasks import StringSettings, StringTask
from lengthgen.data.sources.strings import copied


@dataclass
class Config(StringSettings):
    label: str = "copy"


class Copy(StringTask):
    Config = Config
    answer = staticmethod(copied)
