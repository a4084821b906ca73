"""Copies from all lags with weights e^(-slope k): an ALiBi head of that slope is exactly right."""

from dataclasses import dataclass

from lengthgen.data.datasets.synthetic import CopySettings, LagDataset
from lengthgen.data.sources import weights


@dataclass
class Config(CopySettings):
    label: str = "geometric_lags"
    # weight of lag k: e^(-slope k); 2^-4 is a slope of ALiBi with 2, 4, 8, 16 or 32 heads
    slope: float = 0.0625
    POSITIVE = (*CopySettings.POSITIVE, "slope")


class GeometricLags(LagDataset):
    Config = Config

    def law(self) -> weights.Law:
        return weights.geometric(self.config.slope, self.config.document_length)
