"""Steps whose loss or gradient is not finite: what was left out, and how often.

The update of such a step is skipped: the weights and the optimiser stay as they are, the rate and
the batches go on. After IN_A_ROW of them the next one takes the training back to its last
checkpoint, once; the batches of that row are then left out. After a second such row it fails.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

IN_A_ROW = 3


@dataclass
class Skips:
    """Steps count from 1, as in metrics.jsonl.

    skipped: whose update was left out. left_out: whose batch is not computed, since the return.
    returned: from which step to which the training went back; [] while it has not.
    row: the last steps, as far as none of them was finite.
    """

    skipped: list[int] = field(default_factory=list)
    left_out: list[int] = field(default_factory=list)
    returned: list[int] = field(default_factory=list)
    row: list[int] = field(default_factory=list)

    def take(self, step: int, finite: bool) -> bool:
        """Note a step that was computed. False where it is one too many in a row."""
        if finite:
            self.row = []
            return True
        self.row.append(step)
        self.skipped.append(step)
        return len(self.row) <= IN_A_ROW

    def go_back(self, saved: "Skips", step: int) -> "Skips":
        """After the return to a checkpoint after `step` steps, which holds `saved`."""
        return Skips(saved.skipped, [*saved.left_out, *self.row], [self.row[-1], step])

    def about(self) -> dict[str, Any]:
        """For the final checkpoint and provenance.json; {} where nothing was skipped."""
        about = {name: value for name, value in asdict(self).items() if name != "row"}
        return {"skips": about} if any(about.values()) else {}

    def state_dict(self) -> dict[str, Any]:
        return {"skips": asdict(self)} if self.about() else {}


def load(state: Mapping[str, Any]) -> Skips:
    """From a checkpoint, which says nothing of them where there were none."""
    return Skips(**state.get("skips", {}))


def in_words(about: Mapping[str, Any]) -> str:
    """One sentence on what a training's `about` says was skipped; "" if nothing was."""
    skips = about.get("skips")
    if not skips:
        return ""
    count, back = len(skips["skipped"]) + len(skips["left_out"]), ""
    if skips["returned"]:
        back = "; it went back once, from step {} to {}".format(*skips["returned"])
    return (
        f"{count} steps were skipped, whose loss or gradient was not finite{back}: this run did "
        "not train on the batches that others of its setting did (metrics.jsonl names them)"
    )
