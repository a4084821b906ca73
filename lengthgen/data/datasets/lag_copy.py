"""Lag copy: every symbol is that of `lag` places before with probability p, else a new one. One offset is all there is to find.

Its floor is ln V up to the lag and one constant behind it, at every length: a rise of the excess past the training length is the scheme's.
"""

from dataclasses import dataclass

from lengthgen.config.dataclass_from import check
from lengthgen.data.datasets.synthetic import Settings, Synthetic, check_symbols
from lengthgen.data.sources.lags import Lags, lag_copy


@dataclass
class Config(Settings):
    label: str = "lag_copy"  # name in tables and figures
    n_symbols: int = 32  # different symbols
    p: float = 0.9  # probability that a symbol is copied
    lag: int = 5  # from how many places before; T5's default buckets tell lags up to 16 apart

    def __post_init__(self):
        super().__post_init__()
        check_symbols(self.n_symbols, self.p)
        check(self.lag > 0, f"dataset.lag={self.lag}: expected a positive integer")


class LagCopy(Synthetic):
    Config = Config

    def make_source(self) -> Lags:
        return lag_copy(self.config.n_symbols, self.config.p, self.config.lag)
