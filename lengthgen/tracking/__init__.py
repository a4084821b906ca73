"""Where a run's metrics and length curves go too: W&B (default, offline), TensorBoard, or nowhere.

    tracker = tracking.start(config.tracking, RunDescription(id, name, group, "train", ...))
    tracker.log({"train/loss": 2.1}, step=10)
    tracker.curves(rows)  # of lengths.csv
    tracker.finish(exit_code=0)

Neither library raises here, delays a step, or draws random numbers. A further choice is a file with
a `Backend`, a line in BACKENDS and a YAML in configs/tracking/.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from lengthgen.config.dataclass_from import build, choice
from lengthgen.config.redaction import redact, redact_text
from lengthgen.tracking.seam import Backend, RunDescription, Tracker
from lengthgen.tracking.tensorboard import TensorBoard
from lengthgen.tracking.wandb import Wandb

__all__ = ["BACKENDS", "RunDescription", "Tracker", "redact", "redact_text", "start"]

BACKENDS: dict[str, type[Backend]] = {"wandb": Wandb, "tensorboard": TensorBoard, "none": Backend}


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
        name=redact_text(description.name),
        group=redact_text(description.group),
        tags=tuple(redact_text(str(tag)) for tag in description.tags),
        config=redact(description.config),
    )
    return Tracker(backend(config, public))
