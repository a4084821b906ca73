"""Lag copy: with probability p a symbol repeats the one `lag` places before, else it is new.

The floor is ln V up to the lag and constant after it, at every length: an excess that rises past
the training length is the scheme's doing.
"""

from dataclasses import dataclass

from lengthgen.config.dataclass_from import limit
from lengthgen.data.datasets.synthetic import CopySettings, LagDataset
from lengthgen.data.sources import weights


@dataclass
class Config(CopySettings):
    label: str = "lag_copy"  # name in tables and figures
    lag: int = 5  # from how many places before; T5's default buckets tell lags up to 16 apart

    def __post_init__(self):
        super().__post_init__()
        limit(self, "dataset", "> 0", "lag")


class LagCopy(LagDataset):
    Config = Config

    def law(self) -> weights.Law:
        return weights.comb(self.config.lag, 1)
