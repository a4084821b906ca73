"""One step of decoding: which tokens are new, and what positions and biases their scheme has.

Shape letters: T tokens so far, H heads, B sequences.
"""

from dataclasses import dataclass, field

from torch import Tensor

from lengthgen.attention.bias_forms import Bias, Toeplitz
from lengthgen.decoding.slots import Slots


@dataclass
class Step:
    """Tokens first..last-1 are new; first = 0 begins a text.

    positions: of all tokens so far, as the scheme's `read` gives them. biases: the layers' by
    position; they may reach further.
    """

    first: int
    last: int
    positions: Tensor
    biases: list[Bias | None]
    _rows: dict[tuple[int, Slots], Tensor] = field(default_factory=dict)

    @property
    def new_positions(self) -> Tensor:
        return self.positions[..., self.first :]

    def bias_row(self, layer: int, slots: Slots) -> Tensor | None:
        """(1, H, 1, used slots) or (B, H, 1, used slots): the newest query's bias; None: none.

        Layers that share a bias share its row.
        """
        bias = self.biases[layer]
        if bias is None:
            return None
        key = (id(bias), slots)
        if key not in self._rows:
            self._rows[key] = self._bias_row(bias, slots)
        return self._rows[key]

    def _bias_row(self, bias: Bias, slots: Slots) -> Tensor:
        query = self.last - 1
        tokens = slots.tokens(self.last, self.positions.device)
        if isinstance(bias, Toeplitz):
            return bias.vector[:, query - tokens][None, :, None]
        row = bias.block(query, self.last)
        row = row if slots.window is None else row.index_select(-1, tokens)
        return row if row.ndim == 4 else row[None]
