"""Copy: a string of random symbols, then the same again. The answer's symbol stands as far back as the string is long."""

from dataclasses import dataclass

from lengthgen.data.datasets.tasks import StringSettings, TaskDataset
from lengthgen.data.sources.strings import Strings, copied


@dataclass
class Config(StringSettings):
    label: str = "copy"  # name in tables and figures


class Copy(TaskDataset):
    Config = Config

    def make_task(self) -> Strings:
        return Strings(self.config.n_symbols, copied)
