"""Parity: a string of zeros and ones, then whether the number of ones is odd.

Every symbol counts, and none more than another.
"""

from dataclasses import dataclass

from lengthgen.data.datasets.tasks import Settings, TaskDataset
from lengthgen.data.sources.groups import WordProblem, cyclic


@dataclass
class Config(Settings):
    label: str = "parity"
    # true: answer with the parity after each symbol (a scratchpad), else with the last one alone
    every_state: bool = False


class Parity(TaskDataset):
    Config = Config

    def make_task(self) -> WordProblem:
        return WordProblem(cyclic(2), self.config.every_state)
