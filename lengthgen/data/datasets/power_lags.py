"""Copies from all lags with weights k^-exponent: the home of KERPLE-log, which has that law exactly (sources/weights.py)."""

from dataclasses import dataclass

from lengthgen.config.dataclass_from import check
from lengthgen.data.datasets.synthetic import Settings, Synthetic, check_symbols
from lengthgen.data.sources import weights
from lengthgen.data.sources.lags import Lags


@dataclass
class Config(Settings):
    label: str = "power_lags"  # name in tables and figures
    n_symbols: int = 32  # different symbols
    p: float = 0.9  # probability that a symbol is copied
    exponent: float = (
        1.5  # weight of lag k: k^-exponent; at 1 or less the far past never becomes negligible
    )

    def __post_init__(self):
        super().__post_init__()
        check_symbols(self.n_symbols, self.p)
        check(
            0 < self.exponent <= 20,
            f"dataset.exponent={self.exponent}: expected a positive number up to 20",
        )


class PowerLags(Synthetic):
    Config = Config

    def make_source(self) -> Lags:
        law = weights.power(self.config.exponent, self.config.document_length)
        return Lags(self.config.n_symbols, self.config.p, *law)
