"""T5's relative position bias: a learned scalar per head and bucket; far offsets share one bucket.

Source: Raffel et al., "Exploring the limits of transfer learning" (JMLR 2020), section 2.1; buckets
of mesh_tensorflow/transformer/transformer_layers.py:_relative_position_bucket, bidirectional=False.
Formula: score(i, j) = q_i . k_j / sqrt(D) + sqrt(D) W[h, bucket(i - j)]. With m = num_buckets / 2,
  bucket(n) = n                                                                     for n < m
  bucket(n) = min(num_buckets - 1, m + floor(ln(n / m) / ln(max_distance / m) * m))  otherwise.
T5 has (32, 128) and trains on 512 tokens: the last bucket begins at offset 113 and holds 61 % of
the pairs of a window. At 128 tokens the same numbers would leave it 1.5 %, and what carries the
scheme past the training length would be untrained. Unless given, the buckets therefore follow the
training length L:
  num_buckets   L / 4, an even number, from 4 to 32
  max_distance  L / 4, and at least num_buckets
These are (32, 128) at L = 512, (32, 256) at 1024, (32, 32) at 128 and (16, 16) at 64; the last
bucket holds 57 to 62 % of the pairs from L = 64 on.

Deviations: T5 divides neither term by sqrt(D) (its W_q starts accordingly): score = q_i . k_j + W.
With scaled scores GPT-NeoX (KERPLE's T5 baseline) and x-transformers multiply the bias by sqrt(D),
and so do we by default (scale_bias). This matters: Adam moves a weight by about its learning rate a
step whatever the gradient, so in a short training the unscaled table cannot become as steep as
ALiBi's lines, and T5 looks worse than it is. T5's own attention is scale_scores=false
scale_bias=false. The table starts from N(0, init_std^2), 0.02 like our other weights; Hugging
Face's T5 draws N(0, 1/width). One table serves all layers, as in T5.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lengthgen.config import by_length
from lengthgen.config.dataclass_from import check, limit
from lengthgen.schemes.base import Declaration, GeneratorFor, Scheme


@dataclass
class Config:
    # learned values a head, even: half for single offsets, half for ranges; null: train_length / 4,
    # from 4 to 32
    num_buckets: int | None = None
    # the logarithmic ranges end here, later offsets share the last bucket; null: train_length / 4,
    # at least num_buckets
    max_distance: int | None = None
    per_layer: bool = False  # a table for each layer instead of one for all (T5 has one)
    scale_scores: bool = True  # divide q.k by sqrt(head size); T5 itself does not
    # multiply the bias by sqrt(head size), as GPT-NeoX and x-transformers do; T5 itself does not
    scale_bias: bool = True
    init_std: float = 0.02  # standard deviation of the table at the start

    PUBLISHED: ClassVar[dict[str, Any]] = {"num_buckets": 32, "max_distance": 128}

    def __post_init__(self):
        buckets, distance = self.num_buckets, self.max_distance
        check(
            buckets is None or (buckets >= 2 and buckets % 2 == 0),
            f"scheme.num_buckets={buckets}: expected an even number >= 2, or null",
        )
        limit(self, "scheme", "> 0", "max_distance")
        check(
            buckets is None or distance is None or distance > buckets // 2,
            f"scheme.max_distance={distance}: expected more than "
            f"num_buckets / 2 = {(buckets or 0) // 2}",
        )
        limit(self, "scheme", ">= 0", "init_std")

    def at_length(self, train_length: int) -> dict[str, int]:
        buckets = self.num_buckets or min(32, max(4, train_length // 8 * 2))
        distance = self.max_distance or max(train_length // 4, buckets)
        return {"num_buckets": buckets, "max_distance": distance}


class T5Bias(Scheme):
    """table: (1 or n_layers, H, num_buckets) float32."""

    Config = Config
    structure = "toeplitz"

    def __init__(self, config, dimensions):
        config = by_length.resolved(config, dimensions.train_length)
        super().__init__(config, dimensions)
        tables = dimensions.n_layers if config.per_layer else 1
        self.table = nn.Parameter(torch.zeros(tables, dimensions.n_heads, config.num_buckets))
        # The first offset of the last bucket. Kept: a compiler cannot trace a number that is read
        # from a tensor, and the declaration, which names it, is asked for in every layer.
        self.last_bucket_start = _last_bucket_start(config.num_buckets, config.max_distance)

    @property
    def declaration(self) -> Declaration:
        length, start = self.dimensions.train_length, self.last_bucket_start
        return Declaration(
            paper="Raffel et al., JMLR 2020, section 2.1",
            year=2020,
            acts_on="scores",
            sharing="a table per layer, a row per head"
            if self.config.per_layer
            else "one table for all layers, a row per head",
            prefix_consistent=True,
            shift_invariant=True,
            trained_reach=f"offset {length - 1}; the last bucket begins at {start}",
            tail=f"last bucket: one value for all offsets from {start} on"
            + (
                f" (num_buckets={self.config.num_buckets}, max_distance={self.config.max_distance};"
                " unless given, train_length / 4 and at most 32 buckets)"
                if start < length
                else ", which NO training offset reaches"
            ),
            oracles=("transformers", "x-transformers", "whole numbers"),
        )

    @property
    def score_scale(self) -> float:
        return self.dimensions.head_dim**-0.5 if self.config.scale_scores else 1.0

    @torch.no_grad()
    def initialise(self, generator_for: GeneratorFor) -> None:
        self.table.normal_(0.0, self.config.init_std, generator=generator_for("table"))

    def toeplitz(self, offsets: Tensor, layer: int) -> Tensor:
        buckets = bucket(offsets, self.config.num_buckets, self.config.max_distance)
        bias = self.table[layer if self.config.per_layer else 0].index_select(1, buckets)
        return bias * self.dimensions.head_dim**0.5 if self.config.scale_bias else bias


def bucket(offsets: Tensor, num_buckets: int, max_distance: int) -> Tensor:
    """Bucket (O,) int64 of causal offsets i - j >= 0 (O,)."""
    exact = num_buckets // 2
    ratio = (offsets.clamp(min=exact).double() / exact).log() / math.log(max_distance / exact)
    # 1e-9: rounding must not put an offset on a boundary (32 of (32, 256)) below it on any device.
    ranged = exact + (ratio * (num_buckets - exact) + 1e-9).floor().long()
    return torch.where(offsets < exact, offsets, ranged.clamp(max=num_buckets - 1))


def _last_bucket_start(num_buckets: int, max_distance: int) -> int:
    buckets = bucket(torch.arange(max_distance + 1), num_buckets, max_distance)
    return int((buckets < num_buckets - 1).sum())
