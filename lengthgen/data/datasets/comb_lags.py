"""Copies from the lags period, 2 period, ..., teeth * period, all with the same weight.

No penalty that only grows with distance can pick these lags out.
"""

from dataclasses import dataclass

from lengthgen.data.datasets.synthetic import CopySettings, LagDataset
from lengthgen.data.sources import weights


@dataclass
class Config(CopySettings):
    label: str = "comb_lags"
    period: int = 13  # the smallest lag, and the step from one lag to the next
    teeth: int = 3  # how many lags
    POSITIVE = (*CopySettings.POSITIVE, "period", "teeth")


class CombLags(LagDataset):
    Config = Config

    def law(self) -> weights.Law:
        return weights.comb(self.config.period, self.config.teeth)
