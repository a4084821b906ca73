"""Multi-query associative recall (MQAR): pairs of a key and a value, then every key again in another order: which value was it?"""

from dataclasses import dataclass

from lengthgen.config.dataclass_from import check
from lengthgen.data.datasets.tasks import Settings, TaskDataset
from lengthgen.data.sources.mqar import AssociativeRecall


@dataclass
class Config(Settings):
    label: str = "mqar"  # name in tables and figures
    n_keys: int = 512  # different keys; those of an example differ, so it needs a quarter of the longest length
    n_values: int = 64  # different values

    def __post_init__(self):
        super().__post_init__()
        for name in ("n_keys", "n_values"):
            check(
                getattr(self, name) >= 2,
                f"dataset.{name}={getattr(self, name)}: expected at least 2",
            )


class Mqar(TaskDataset):
    Config = Config

    def __init__(self, config: Config):
        super().__init__(config)
        check(
            self.largest <= config.n_keys,
            f"dataset.n_keys={config.n_keys}: the longest documents have {self.largest} pairs; expected as many",
        )

    def make_task(self) -> AssociativeRecall:
        return AssociativeRecall(self.config.n_keys, self.config.n_values)
