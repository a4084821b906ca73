"""Copy: a string of random symbols, then the same again. The answer's symbol stands as far back as the string is long."""

from dataclasses import dataclass

from lengthgen.datasets.tasks import Settings, TaskDataset
from lengthgen.sources.strings import Strings, copied
from lengthgen.typed import check


@dataclass
class Config(Settings):
    label: str = "copy"  # name in tables and figures
    n_symbols: int = 32  # different symbols of the strings

    def __post_init__(self):
        super().__post_init__()
        check(self.n_symbols >= 2, f"dataset.n_symbols={self.n_symbols}: expected at least 2")


class Copy(TaskDataset):
    Config = Config

    def make_task(self) -> Strings:
        return Strings(self.config.n_symbols, copied)
