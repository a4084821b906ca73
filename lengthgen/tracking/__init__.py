"""Where a run's metrics and length curves go too: W&B (default, offline), TensorBoard, or nowhere.

    tracker = tracking.start(config.tracking, RunDescription(id, name, group, "train", ...))
    tracker.log({"train/loss": 2.1}, step=10)
    tracker.summary({"data/fingerprint": "6c35802b1f04e828"})
    tracker.curves(rows)  # of lengths.csv
    tracker.figures({"loss_by_length": path})
    tracker.finish(exit_code=0)

Neither library raises here, delays a step, or draws random numbers. A further choice is a file with
a `Backend`, a line in BACKENDS and a YAML in configs/tracking/.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lengthgen.config.dataclass_from import build, choice
from lengthgen.config.redaction import redact, redact_text
from lengthgen.tracking.seam import Artifact, Backend, RunDescription, Tracker
from lengthgen.tracking.tensorboard import TensorBoard
from lengthgen.tracking.wandb import Wandb

__all__ = [
    "BACKENDS",
    "Artifact",
    "RunDescription",
    "Tracker",
    "redact",
    "redact_text",
    "start",
    "unheard",
]

BACKENDS: dict[str, type[Backend]] = {"wandb": Wandb, "tensorboard": TensorBoard, "none": Backend}

LONGEST = 128  # characters of a run's id, name and group, by W&B's servers


def start(options: Mapping[str, Any], description: RunDescription) -> Tracker:
    """A tracker for one run. Raises ConfigError.

    options: `name`, one of BACKENDS, and fields of that backend's Config.
    """
    name = str(options.get("name"))
    choice("tracking", name, tuple(BACKENDS))
    backend = BACKENDS[name]
    config: Any = build(backend.Config, redact(options), "tracking")
    public = dataclasses.replace(
        description,
        id=_short_id(description.id),
        name=redact_text(description.name)[:LONGEST],
        group=redact_text(description.group)[:LONGEST],
        tags=tuple(redact_text(str(tag)) for tag in description.tags),
        config=redact(description.config),
    )
    return Tracker(backend(config, public))


def unheard() -> Tracker:
    """A tracker that tells nobody."""
    nobody = RunDescription("", "", "", "", (), {}, Path())
    return Tracker(Backend(Backend.Config(), nobody))


def _short_id(text: str) -> str:
    """An id that is too long for W&B, cut in its middle: a hash of it tells it from others."""
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST - 17]}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
