"""Copies from the lags period, 2 period, ..., teeth * period, all with the same weight.

No penalty that only grows with distance can pick these lags out.
"""

from dataclasses import dataclass

from lengthgen.config.dataclass_from import limit
from lengthgen.data.datasets.synthetic import CopySettings, LagDataset
from lengthgen.data.sources import weights


@dataclass
class Config(CopySettings):
    label: str = "comb_lags"  # name in tables and figures
    period: int = 13  # the smallest lag, and the step from one lag to the next
    teeth: int = 3  # how many lags

    def __post_init__(self):
        super().__post_init__()
        limit(self, "dataset", "> 0", "period", "teeth")


class CombLags(LagDataset):
    Config = Config

    def law(self) -> weights.Law:
        return weights.comb(self.config.period, self.config.teeth)
