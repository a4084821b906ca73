"""Copies from the lags period, 2 period, ..., teeth * period, all alike: what no penalty that grows with distance can pick out."""

from dataclasses import dataclass

from lengthgen.config.dataclass_from import check
from lengthgen.data.datasets.synthetic import Settings, Synthetic, check_symbols
from lengthgen.data.sources import weights
from lengthgen.data.sources.lags import Lags


@dataclass
class Config(Settings):
    label: str = "comb_lags"  # name in tables and figures
    n_symbols: int = 32  # different symbols
    p: float = 0.9  # probability that a symbol is copied
    period: int = 13  # the smallest lag, and the step from one lag to the next
    teeth: int = 3  # how many lags

    def __post_init__(self):
        super().__post_init__()
        check_symbols(self.n_symbols, self.p)
        check(self.period > 0, f"dataset.period={self.period}: expected a positive integer")
        check(self.teeth > 0, f"dataset.teeth={self.teeth}: expected a positive integer")


class CombLags(Synthetic):
    Config = Config

    def make_source(self) -> Lags:
        law = weights.comb(self.config.period, self.config.teeth)
        return Lags(self.config.n_symbols, self.config.p, *law)
