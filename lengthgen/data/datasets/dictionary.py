"""Keys that recur at all distances, each with the value of the document's own dictionary.

Text that needs its far context, with an exact floor in every window: each doubling of the context
lowers it by about as much, far beyond usual training lengths (sources/dictionary.py).
"""

from dataclasses import dataclass

from lengthgen.data.datasets.synthetic import Settings, Synthetic
from lengthgen.data.sources import dictionary


@dataclass
class Config(Settings):
    label: str = "dictionary"
    n_keys: int = 64  # different keys; more of them recur at longer distances
    n_values: int = 8  # values of each key
    exponent: float = 1.0  # key k comes with chance ~ (k + 1)^-exponent; 0: all alike


class Dictionary(Synthetic):
    Config = Config

    def make_source(self) -> dictionary.Dictionary:
        config = self.config
        return dictionary.Dictionary(config.n_keys, config.n_values, config.exponent)
