"""What is kept of each token, in slots of one tensor that is made once and grows by doubling.

Shape letters: B sequences, K heads, R new tokens, D size of what is kept.
"""

import torch
from torch import Tensor

from lengthgen.decoding.slots import Slots


class Buffer:
    """(B, K, slots, D), made by the first `append`, in its dtype and on its device."""

    def __init__(self, slots: Slots, room: int):
        """room: tokens that are expected; more only cost a copy."""
        self.slots, self.room = slots, room
        self.data: Tensor | None = None

    def append(self, x: Tensor, first: int) -> None:
        """Keep x (B, K, R, D) of the tokens from `first` on."""
        last = first + x.shape[2]
        self._make_room(x, last)
        assert self.data is not None
        for start, stop in self.slots.kept(first, last):
            part = x[:, :, start - first : stop - first]
            place = self.slots.place(start)
            if place + stop - start <= self.slots.count(last):  # they lie side by side
                self.data[:, :, place : place + stop - start] = part
            else:
                places = self.slots.places(torch.arange(start, stop, device=x.device))
                self.data.index_copy_(2, places, part)

    def kept(self, length: int) -> Tensor:
        """A view (B, K, slots in use, D) after `length` tokens."""
        assert self.data is not None
        return self.data[:, :, : self.slots.count(length)]

    @property
    def nbytes(self) -> int:
        return 0 if self.data is None else self.data.nbytes

    def _make_room(self, x: Tensor, last: int) -> None:
        needed, have = self.slots.count(last), 0 if self.data is None else self.data.shape[2]
        if have >= needed:
            return
        tokens = max(last, self.room, 2 * have)
        larger = x.new_empty(*x.shape[:2], self.slots.count(tokens), x.shape[3])
        if self.data is not None:
            larger[:, :, :have] = self.data
        self.data = larger
