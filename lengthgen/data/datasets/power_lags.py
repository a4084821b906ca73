"""Copies from all lags with weights k^-exponent: KERPLE-log is exactly right here."""

from dataclasses import dataclass

from lengthgen.config.dataclass_from import check
from lengthgen.data.datasets.synthetic import CopySettings, LagDataset
from lengthgen.data.sources import weights


@dataclass
class Config(CopySettings):
    label: str = "power_lags"
    # weight of lag k: k^-exponent; at 1 or less the far past never becomes negligible
    exponent: float = 1.5

    def __post_init__(self):
        super().__post_init__()
        check(
            0 < self.exponent <= 20,
            f"dataset.exponent={self.exponent}: expected a positive number up to 20",
        )


class PowerLags(LagDataset):
    Config = Config

    def law(self) -> weights.Law:
        return weights.power(self.config.exponent, self.config.document_length)
