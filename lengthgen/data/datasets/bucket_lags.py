"""Copies from all lags with weights that are constant on T5's buckets and rise and fall from one to the next: the home of T5 bias.

T5 with the same buckets is exactly right (sources/weights.py); no line, power or logarithm is.
"""

from dataclasses import dataclass, field

from lengthgen.config.dataclass_from import check
from lengthgen.data.datasets.synthetic import Settings, Synthetic, check_symbols
from lengthgen.data.sources import weights
from lengthgen.data.sources.lags import Lags


@dataclass
class Config(Settings):
    label: str = "bucket_lags"  # name in tables and figures
    n_symbols: int = 32  # different symbols
    p: float = 0.9  # probability that a symbol is copied
    num_buckets: int = 32  # as scheme.num_buckets of t5_bias
    max_distance: int = 128  # as scheme.max_distance of t5_bias
    levels: list[float] = field(
        default_factory=lambda: [0.1, 1.0]
    )  # shares of buckets 0, 1, ... (repeated), each spread over its lags

    def __post_init__(self):
        super().__post_init__()
        check_symbols(self.n_symbols, self.p)
        check(
            self.num_buckets >= 2 and self.num_buckets % 2 == 0,
            f"dataset.num_buckets={self.num_buckets}: expected an even number >= 2",
        )
        check(
            self.max_distance > self.num_buckets // 2,
            f"dataset.max_distance={self.max_distance}: expected more than num_buckets / 2 = {self.num_buckets // 2}",
        )
        check(
            bool(self.levels) and all(level > 0 for level in self.levels),
            f"dataset.levels={self.levels}: expected positive numbers",
        )


class BucketLags(Synthetic):
    Config = Config

    def make_source(self) -> Lags:
        config = self.config
        law = weights.buckets(
            config.levels, config.num_buckets, config.max_distance, config.document_length
        )
        return Lags(config.n_symbols, config.p, *law)
