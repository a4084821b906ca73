"""Copies from lags whose weights are constant on each T5 bucket: T5 bias is exactly right here.

The weights rise and fall from bucket to bucket, so no line, power or logarithm fits them.
"""

from dataclasses import dataclass, field

from lengthgen.config.dataclass_from import check
from lengthgen.data.datasets.synthetic import CopySettings, LagDataset
from lengthgen.data.sources import weights


@dataclass
class Config(CopySettings):
    label: str = "bucket_lags"
    num_buckets: int = 32  # as scheme.num_buckets of t5_bias
    max_distance: int = 128  # as scheme.max_distance of t5_bias
    # shares of buckets 0, 1, ... (repeated), each spread over its lags
    levels: list[float] = field(default_factory=lambda: [0.1, 1.0])

    def __post_init__(self):
        super().__post_init__()
        buckets, reach, levels = self.num_buckets, self.max_distance, self.levels
        even = buckets >= 2 and buckets % 2 == 0
        check(even, f"dataset.num_buckets={buckets}: expected an even number >= 2")
        least = f"num_buckets / 2 = {buckets // 2}"
        check(reach > buckets // 2, f"dataset.max_distance={reach}: expected more than {least}")
        positive = bool(levels) and min(levels) > 0
        check(positive, f"dataset.levels={levels}: expected positive numbers")


class BucketLags(LagDataset):
    Config = Config

    def law(self) -> weights.Law:
        c = self.config
        return weights.buckets(c.levels, c.num_buckets, c.max_distance, c.document_length)
