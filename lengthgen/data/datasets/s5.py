"""State tracking in S5: a string of permutations of five things, then their product.

No Transformer is known to do it at every length (sources/groups.py).
"""

from dataclasses import dataclass

from lengthgen.config.dataclass_from import check
from lengthgen.data.datasets.tasks import Settings, TaskDataset
from lengthgen.data.sources.groups import WordProblem, symmetric


@dataclass
class Config(Settings):
    label: str = "s5"
    # things that are permuted; with 4 or fewer the group is solvable, and in theory learnable
    degree: int = 5
    # true: answer with the product after each element (a scratchpad), else with the last one alone
    every_state: bool = False

    def __post_init__(self):
        super().__post_init__()
        # 7 would need a table of 25 million products
        check(2 <= self.degree <= 6, f"dataset.degree={self.degree}: expected 2 to 6")


class S5(TaskDataset):
    Config = Config

    def make_task(self) -> WordProblem:
        return WordProblem(symmetric(self.config.degree), self.config.every_state)
