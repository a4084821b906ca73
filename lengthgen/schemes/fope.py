"""FoPE: Fourier position embedding. Mixtures of waves turn the pairs; too slow waves are left out.

Source: Hua et al., "Fourier position embedding" (ICML 2025, arXiv 2412.17739), section 4; defaults
and initialisation from the authors' olmo/model.py:FourierEmbedding and published configurations.
Formula: of the frequencies w_k = base^(-2k/D) the F with a period of at most train_length are kept.
Pair m < F of head h, as a complex number, is multiplied at position i by
  sum_k A[h, k, m] cos(w_k i) + 1j sum_k B[h, k, m] sin(w_k i),
and the other pairs by 1. A and B = identity + N(0, gain^2 2 / (F^2 + H F)), drawn for each layer
and frozen unless `learnable`. With gain 0 it is hope_period. A mixture is no rotation: scores
depend on the positions themselves.
The variance is that of the authors' xavier_normal_ on a tensor (H, F, F), which counts heads as a
fan. Their gain grows with the model: 0.3 at 60M, 0.4 at 180M, 0.6 at 1.2B parameters.

form=released is their code to the letter. At most M = D/4 pairs get a mixture; where F > M the
identity has its ones at frequency m ceil(F / M), so that the last pairs have noise and no dominant
wave; and the pairs without position are multiplied by 1 + 1j, which doubles their share of the
score. At D = 64 and train_length 512 only the last of the three matters.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from lengthgen.config.dataclass_from import check, choice, limit
from lengthgen.schemes import hope_period, rotary
from lengthgen.schemes.base import Declaration, GeneratorFor


@dataclass
class Config:
    base: float = 10000.0  # theta: frequency k has the wavelength 2 pi base^(2k/D)
    gain: float = 0.3  # size of the noise that mixes other waves into each pair's own
    learnable: bool = False  # train the coefficients; the authors freeze them
    # paper: every trained frequency has its pair, others are left alone | released: as the authors'
    # code
    form: str = "paper"
    layout: str = "interleaved"  # which channels make a pair: interleaved | half_split

    def __post_init__(self):
        limit(self, "scheme", "> 1", "base")
        limit(self, "scheme", ">= 0", "gain")
        choice("scheme.form", self.form, ("paper", "released"))
        choice("scheme.layout", self.layout, rotary.LAYOUTS)


class FoPE(hope_period.HoPEPeriod):
    """cosine, sine: (n_layers, H, F, M) float32, of M mixed pairs."""

    Config = Config

    def __init__(self, config, dimensions):
        super().__init__(config, dimensions)
        N, H, D = dimensions.n_layers, dimensions.n_heads, dimensions.head_dim
        F = self.spectrum.kept
        M = min(F, D // 4) if config.form == "released" else F
        check(
            M > 0,
            f"train_length={dimensions.train_length}, {D} channels a head: "
            "fope expects a pair that completes a turn",
        )
        self.cosine, self.sine = (
            nn.Parameter(torch.zeros(N, H, F, M), requires_grad=config.learnable) for _ in range(2)
        )

    @property
    def declaration(self) -> Declaration:
        _, _, F, M = self.cosine.shape
        kind = "learned" if self.config.learnable else "frozen"
        return replace(
            super().declaration,
            paper="Hua et al., ICML 2025, arXiv 2412.17739, section 4",
            sharing=f"{kind} coefficients of {F} waves in {M} of {self.dimensions.head_dim // 2} "
            "pairs, a set per layer and head",
            shift_invariant=False,
            trained_reach=f"position {self.dimensions.train_length - 1}; "
            "every wave completes a turn",
            tail="defined at any length; no single wave meets an unseen angle, "
            "their combinations are new",
        )

    @torch.no_grad()
    def initialise(self, generator_for: GeneratorFor) -> None:
        _, H, F, M = self.cosine.shape
        identity = torch.zeros(F, M)
        for m in range(M):
            if m * math.ceil(F / M) < F:
                identity[m * math.ceil(F / M), m] = 1.0
        std = self.config.gain * (2 / (F * M + H * M)) ** 0.5
        for name in ("cosine", "sine"):
            coefficients = getattr(self, name)
            coefficients.normal_(0.0, std, generator=generator_for(name))
            coefficients += identity

    def turn(self, x: Tensor, cos: Tensor, sin: Tensor, layer: int) -> Tensor:
        _, _, F, M = self.cosine.shape
        # Attention may run under autocast, and a product in bfloat16 would be another rotation.
        with torch.autocast(x.device.type, enabled=False):
            cos = cos[:, :F] @ self.cosine[layer].to(cos.dtype)  # (H, T, M)
            sin = sin[:, :F] @ self.sine[layer].to(sin.dtype)
        still = x.shape[-1] // 2 - M
        cos = functional.pad(cos, (0, still), value=1.0)
        sin = functional.pad(sin, (0, still), value=1.0 if self.config.form == "released" else 0.0)
        return rotary.turned(x, cos, sin, self.config.layout)
