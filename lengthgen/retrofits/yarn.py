"""YaRN and NTK-by-parts: slow pairs as in position interpolation, fast ones as trained.

Source: Peng et al., "YaRN" (ICLR 2024, arXiv 2309.00071), definitions 2 and 3, equation 22; ramp
`index` as in the authors' released code and transformers' _compute_yarn_parameters.
Formula: pair k turns at (1 - g_k) f_k / s + g_k f_k. YaRN multiplies all scores by
(0.1 ln s + 1)^2; NTK-by-parts (the YAML ntk_by_parts: temperature=false) does not. L is the
training length; the ramp g is, by the option `ramp`,
- rotations: the paper's, linear in the turns r_k = L f_k / (2 pi), 0 at `slow` turns, 1 at `fast`;
- index: the released code's, linear in k, 1 at floor(k of `fast` turns), 0 at ceil(k of `slow`
  turns), both within 0..R-1 of R channels. The default, as it is what has been evaluated.
Halfway along the ramp the code keeps 0.5 of a frequency, the paper 0.15.
s = `factor`, or evaluated length / train_length where it is null ("dynamic YaRN").

slow = 1 and fast = 32 were tuned on Llama at L = 4096: at L = 512 and D = 64 only the pairs 0 to 3
complete 32 turns. Under partial rotation the temperature is on whole scores, as in the paper;
transformers multiplies the rotated channels alone.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lengthgen.config.dataclass_from import check, choice, limit
from lengthgen.config.plugins import About
from lengthgen.retrofits.rotary import Respaced, ramp_by_turns
from lengthgen.schemes.rotary import Spectrum


@dataclass
class Config:
    # s: slow pairs are slowed by it; null: window / train_length, at least 1
    factor: float | None = None
    ramp: str = "index"  # linear in: index (of the pair, the released code) | rotations (the paper)
    # alpha: pairs of fewer turns in the training length are slowed by the whole factor
    slow: float = 1.0
    fast: float = 32.0  # beta: pairs of more turns are left alone
    temperature: bool = True  # multiply scores by (0.1 ln s + 1)^2: YaRN; false: NTK-by-parts

    def __post_init__(self):
        limit(self, "retrofit", ">= 1", "factor")
        choice("retrofit.ramp", self.ramp, ("index", "rotations"))
        check(
            0 < self.slow < self.fast,
            f"retrofit.slow={self.slow}, retrofit.fast={self.fast}: expected 0 < slow < fast",
        )


class YaRN(Respaced):
    Config = Config
    about = About(
        "Peng et al., ICLR 2024, arXiv 2309.00071, eq. 22",
        2023,
        "rotary schemes",
        ("transformers", "float64 loop"),
    )

    @property
    def change(self) -> str:
        slowed = f"slowed by up to {self.factor_in_words}"
        sharper = ", scores sharpened" if self.config.temperature else ""
        return f"pairs of fewer than {self.config.fast:g} turns {slowed}{sharper}"

    def frequencies(self, length: int, device: torch.device) -> Tensor:
        config, L = self.config, self.dimensions.train_length
        ramp = ramp_by_index if config.ramp == "index" else ramp_by_turns
        kept = ramp(self.trained.spectrum, L, config.slow, config.fast, device)
        return self._partly_slowed(kept, length)

    def temperature(self, length: int) -> float:
        return (0.1 * math.log(self.factor(length)) + 1) ** 2 if self.config.temperature else 1.0


def ramp_by_index(
    spectrum: Spectrum, train_length: int, slow: float, fast: float, device: torch.device
) -> Tensor:
    """(P,) float64: how much of each pair's frequency is kept, linear in the pair's index."""
    R = spectrum.channels

    def index(turns: float) -> float:
        return R * math.log(train_length / (2 * math.pi * turns)) / (2 * math.log(spectrum.base))

    first, last = max(0, math.floor(index(fast))), min(R - 1, math.ceil(index(slow)))
    width = last - first if last != first else 0.001  # the released code's guard
    k = torch.arange(R // 2, device=device, dtype=torch.float64)
    return 1 - ((k - first) / width).clamp(0, 1)
