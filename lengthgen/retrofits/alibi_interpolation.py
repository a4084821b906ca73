"""ALiBi's slopes divided by how much longer the input is: position interpolation for a linear bias.

Source: Al-Khateeb et al., "Position Interpolation Improves ALiBi Extrapolation" (arXiv 2310.13017,
2023).
Formula: slope' = slope L / L', L the training length, L' the window's: the farthest key is
penalised as the farthest one in training was. `factor` = s divides the slopes by s in every window,
which is prefix-consistent. Without it a window of at most L tokens is left as it is.
"""

from dataclasses import dataclass, replace

from torch import Tensor

from lengthgen.config.dataclass_from import limit
from lengthgen.config.plugins import About
from lengthgen.retrofits.base import Retrofit
from lengthgen.schemes.alibi import ALiBi
from lengthgen.schemes.base import Declaration, Scheme


@dataclass
class Config:
    # slopes are divided by it; null: window / train_length, at least 1
    factor: float | None = None

    def __post_init__(self):
        limit(self, "retrofit", "> 0", "factor")


class ALiBiInterpolation(Retrofit):
    Config = Config
    about = About("Al-Khateeb et al., arXiv 2310.13017", 2023, "alibi", ("float64 loop",))

    @classmethod
    def refuses(cls, inner: Scheme) -> str | None:
        if isinstance(inner, ALiBi):
            return None
        return (
            "retrofit alibi_interpolation divides ALiBi's slopes, and the run was trained without"
            " any"
        )

    @property
    def declaration(self) -> Declaration:
        return replace(super().declaration, prefix_consistent=self.config.factor is not None)

    @property
    def tail(self) -> str:
        factor = self.config.factor
        return f"slopes divided by {factor:g}" if factor else "slopes times L / window, past L"

    def toeplitz(self, offsets: Tensor, layer: int) -> Tensor:
        """`offsets` are those of the whole window."""
        factor = self.config.factor or max(1.0, offsets.numel() / self.dimensions.train_length)
        return self.inner.toeplitz(offsets, layer) / factor
