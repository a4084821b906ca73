"""Lag copy: with probability p a symbol repeats the one `lag` places before, else it is new.

After the lag the floor is constant, at every length: an excess that rises past the training length
is the scheme's doing.
"""

from dataclasses import dataclass

from lengthgen.data.datasets.synthetic import CopySettings, LagDataset
from lengthgen.data.sources import weights


@dataclass
class Config(CopySettings):
    label: str = "lag_copy"
    lag: int = 5  # from how many places before; T5's default buckets tell lags up to 16 apart
    POSITIVE = (*CopySettings.POSITIVE, "lag")


class LagCopy(LagDataset):
    Config = Config

    def law(self) -> weights.Law:
        return weights.comb(self.config.lag, 1)
