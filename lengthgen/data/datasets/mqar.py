"""Multi-query associative recall: pairs of a key and a value, then each key's value again."""

from dataclasses import dataclass
from typing import Any

from lengthgen.config.dataclass_from import check
from lengthgen.data.datasets.tasks import Settings, TaskDataset
from lengthgen.data.sources.mqar import AssociativeRecall


@dataclass
class Config(Settings):
    label: str = "mqar"
    n_keys: int = 512  # different keys; at least a quarter of the longest length
    n_values: int = 64  # different values
    AT_LEAST_TWO = ("n_keys", "n_values")


class Mqar(TaskDataset):
    Config = Config

    def __init__(self, config: Any):
        super().__init__(config)
        check(
            self.largest <= config.n_keys,
            f"dataset.n_keys={config.n_keys}: the longest documents have {self.largest} pairs; "
            "expected as many",
        )

    def make_task(self) -> AssociativeRecall:
        return AssociativeRecall(self.config.n_keys, self.config.n_values)
