"""Addition: two numbers of equally many digits, then their sum.

Each digit of the sum needs those of its place in both numbers, and the carry.
"""

from dataclasses import dataclass

from lengthgen.data.datasets.tasks import Settings, TaskDataset
from lengthgen.data.sources.arithmetic import Addition as Source


@dataclass
class Config(Settings):
    label: str = "addition"
    base: int = 10  # of the digits
    # true: all numbers with the least significant digit first, which is far easier to learn
    least_first: bool = False
    AT_LEAST_TWO = ("base",)


class Addition(TaskDataset):
    Config = Config

    def make_task(self) -> Source:
        return Source(self.config.base, self.config.least_first)
