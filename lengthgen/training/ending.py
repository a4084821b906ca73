"""When a training ends: after a number of steps, or when it has settled.

A training has settled when a doubling of its steps improved the held-out loss at the training
length by less than `settle` nats. The rate is constant until then (optim.schedule=stable): the loss
is looked at after C, C/2, C/4, ... steps, down to the end of the warm-up, C being the last step
before the final fall of the rate if `steps` is the end. Where the loss after c steps is less than
`settle` below the loss after c/2, the rate falls, and the training ends after c / (1 - decay)
steps. One that has not settled after C steps ends at `steps`, and is under-trained: what is seen of
it may be its budget, not its scheme.

A loss that has not left the level of a table of token frequencies is a plateau that many trainings
begin with: nothing settles there.
"""

import math
from dataclasses import dataclass, field
from typing import Any

RULE = 2  # raised when the rule changes: a run under another rule is another run


@dataclass
class Ending:
    """steps: the most. settle: nats per doubling, None: all steps are done. decay: optim.decay.

    warm: the steps of the warm-up. ceiling: nats, nothing settles unless its loss is below.
    """

    steps: int
    settle: float | None = None
    decay: float = 0.0
    warm: int = 1
    ceiling: float = math.inf
    losses: dict[int, float] = field(default_factory=dict)  # after how many steps
    settled_at: int | None = None  # steps done when the rule was met

    @property
    def last(self) -> int:
        """The last step, as far as it is known."""
        return self.steps if self.settled_at is None else self._end_after(self.settled_at)

    @property
    def checks(self) -> list[int]:
        """After these steps the loss is looked at, the earliest first."""
        if self.settle is None:
            return sorted({self.steps // 2, self.steps} - {0})
        steps = [self.steps - round(self.decay * self.steps)]
        while steps[0] // 2 >= max(1, self.warm):
            steps.insert(0, steps[0] // 2)
        return steps

    def next_stop(self, step: int) -> int:
        """Where a training that has done `step` steps pauses next: at a check, or at its end."""
        if self.settled_at is not None:
            return self.last
        return next((check for check in self.checks if check > step), self.last)

    def due(self, step: int) -> bool:
        """Is the loss after `step` steps to be looked at?"""
        return self.settled_at is None and step in self.checks

    def look(self, step: int, loss: float) -> None:
        """Take the held-out loss after `step` steps."""
        self.losses[step] = loss
        before = self.losses.get(step // 2)
        if self.settle is None or before is None or loss >= self.ceiling:
            return
        if before - loss < self.settle:
            self.settled_at = step

    def about(self) -> dict[str, Any]:
        """What done.json says of it.

        settled: None without the rule. last_doubling: by how many nats the held-out loss fell from
        the half of the steps to the last check; None where it was not looked at.
        """
        last = max(self.losses, default=0)
        before = self.losses.get(last // 2)
        return {
            "steps": self.last,
            "settled": None if self.settle is None else self.settled_at is not None,
            "last_doubling": None if before is None else before - self.losses[last],
        }

    def state_dict(self) -> dict[str, Any]:
        return {"losses": dict(self.losses), "settled_at": self.settled_at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.losses, self.settled_at = dict(state["losses"]), state["settled_at"]

    def _end_after(self, step: int) -> int:
        return min(self.steps, max(step + 1, round(step / (1 - self.decay))))
