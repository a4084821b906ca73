"""Trained learned absolute positions read another way past their last row.

Source: resample is position interpolation (Chen et al., arXiv 2306.15595, 2023) for a learned
table, as vision models resample theirs (Dosovitskiy et al., ICLR 2021).
Formula: with L trained rows P, position i >= L of a window of T tokens reads P[L - 1] (clamp) or
P[i mod L] (wrap). Under resample all positions of a longer window read the table at T evenly spaced
points, by linear interpolation, so logits depend on T.
These are policies of scheme.tail, whatever the table was trained with.
"""

import copy
from dataclasses import dataclass, replace

from lengthgen.config.dataclass_from import choice
from lengthgen.config.plugins import About
from lengthgen.retrofits.base import Retrofit
from lengthgen.schemes.base import Scheme
from lengthgen.schemes.learned import Learned


@dataclass
class Config:
    tail: str = "resample"  # past the last trained row: resample | clamp | wrap

    def __post_init__(self):
        choice("retrofit.tail", self.tail, ("resample", "clamp", "wrap"))


class LearnedRows(Retrofit):
    """The trained table under another tail policy; the trained scheme itself is left as it is."""

    Config = Config
    about = About(
        "Chen et al., arXiv 2306.15595, for a learned table; Dosovitskiy et al., ICLR 2021",
        2023,
        "learned",
        ("float64 loop",),
    )

    def __init__(self, config, inner: Scheme):
        reading = copy.copy(inner)  # shallow: the same parameters
        reading.config = replace(inner.config, tail=config.tail)
        super().__init__(config, reading)

    @classmethod
    def refuses(cls, inner: Scheme) -> str | None:
        if isinstance(inner, Learned):
            return None
        return "retrofit learned_rows re-reads the rows of scheme=learned, and the run has none"
