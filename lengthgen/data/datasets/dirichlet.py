"""Documents of independent symbols with frequencies of their own: the more of the document is used, the better, however far back.

Attention without any positional bias is right; a model that sees only a window shows it here as w_eff (sources/dirichlet.py).
"""

from dataclasses import dataclass

from lengthgen.config.dataclass_from import check
from lengthgen.data.datasets.synthetic import Settings, Synthetic
from lengthgen.data.sources import dirichlet


@dataclass
class Config(Settings):
    label: str = "dirichlet"  # name in tables and figures
    n_symbols: int = 256  # different symbols; more of them take more context to learn
    beta: float = 1.0  # small: few frequent symbols in a document; large: all alike

    def __post_init__(self):
        super().__post_init__()
        check(
            2 <= self.n_symbols < 2**16,
            f"dataset.n_symbols={self.n_symbols}: expected 2 to {2**16 - 1}",
        )
        check(self.beta > 0, f"dataset.beta={self.beta}: expected a positive number")


class Dirichlet(Synthetic):
    Config = Config

    def make_source(self) -> dirichlet.Dirichlet:
        return dirichlet.Dirichlet(self.config.n_symbols, self.config.beta)
