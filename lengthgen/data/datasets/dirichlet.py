"""Documents of independent symbols whose frequencies are drawn anew for each document.

All of the context is worth the same, near or far: attention needs no positions. A model that uses
only a part of it shows that as w_eff (sources/dirichlet.py).
"""

from dataclasses import dataclass

from lengthgen.data.datasets.synthetic import Settings, Synthetic
from lengthgen.data.sources import dirichlet


@dataclass
class Config(Settings):
    label: str = "dirichlet"
    n_symbols: int = 256  # different symbols; more of them take more context to learn
    beta: float = 1.0  # small: few frequent symbols in a document; large: all alike


class Dirichlet(Synthetic):
    Config = Config

    def make_source(self) -> dirichlet.Dirichlet:
        return dirichlet.Dirichlet(self.config.n_symbols, self.config.beta)
