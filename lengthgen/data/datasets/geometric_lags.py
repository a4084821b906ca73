"""Copies from all lags with weights e^(-slope k): the home of ALiBi, where a head of that slope is exactly right (sources/weights.py)."""

from dataclasses import dataclass

from lengthgen.config.dataclass_from import check
from lengthgen.data.datasets.synthetic import Settings, Synthetic, check_symbols
from lengthgen.data.sources import weights
from lengthgen.data.sources.lags import Lags


@dataclass
class Config(Settings):
    label: str = "geometric_lags"  # name in tables and figures
    n_symbols: int = 32  # different symbols
    p: float = 0.9  # probability that a symbol is copied
    slope: float = 0.0625  # weight of lag k: e^(-slope k); 2^-4 is a slope of ALiBi with 2, 4, 8, 16 or 32 heads

    def __post_init__(self):
        super().__post_init__()
        check_symbols(self.n_symbols, self.p)
        check(self.slope > 0, f"dataset.slope={self.slope}: expected a positive number")


class GeometricLags(Synthetic):
    Config = Config

    def make_source(self) -> Lags:
        law = weights.geometric(self.config.slope, self.config.document_length)
        return Lags(self.config.n_symbols, self.config.p, *law)
