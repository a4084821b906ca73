"""Self-Extend: offsets past a window are counted in groups of tokens.

Source: Jin et al., "LLM maybe LongLM" (ICML 2024, arXiv 2401.01325), equation 4 and algorithm 1;
datamllab/LongLM, self_extend_patch/Llama.py.
Formula: score(i, j) = q_i . R(n) k_j / sqrt(D), R(n) the rotation by offset n, with n = i - j where
i - j < W, and n = floor(i / G) - floor(j / G) + W - floor(W / G) otherwise.
Windows of up to G (train_length - W) + W tokens then meet no offset past the trained ones. The
authors advise W + (T - W) / G below half to two thirds of train_length. G = 8 and W = train_length
/ 4 as published (1024 of 4096).

Windows of at most W tokens, and any with G = 1, are left alone. Groups are counted from position 0,
so logits depend on where a window starts within a group. The released code takes W / G unrounded
for a prompt; here it is always rounded down.
"""

from dataclasses import dataclass, replace

from torch import Tensor

from lengthgen.config.dataclass_from import limit
from lengthgen.config.plugins import About
from lengthgen.retrofits.rotary import Regrouped
from lengthgen.schemes.base import Declaration


@dataclass
class Config:
    group: int = 8  # G: tokens that count as one place where they are far
    window: int | None = None  # W: offsets below it are kept; null: train_length / 4

    def __post_init__(self):
        limit(self, "retrofit", "> 0", "group", "window")


class SelfExtend(Regrouped):
    Config = Config
    about = About(
        "Jin et al., ICML 2024, arXiv 2401.01325, eq. 4",
        2024,
        "rotary schemes of offsets alone",
        ("transformers", "float64 loop"),
    )

    @property
    def window(self) -> int:
        return self.config.window or max(1, self.dimensions.train_length // 4)

    @property
    def declaration(self) -> Declaration:
        return replace(super().declaration, shift_invariant=self.config.group == 1)

    @property
    def tail(self) -> str:
        W, G = self.window, self.config.group
        longest = G * (self.dimensions.train_length - W) + W
        return (
            f"offsets from {W} on in groups of {G}: trained ones up to {longest} tokens,"
            " then unseen angles"
        )

    def far(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        groups = positions.div(self.config.group, rounding_mode="floor")
        return groups + (self.window - self.window // self.config.group), groups
