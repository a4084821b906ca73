"""Where a run's metrics and length curves go besides its own files: W&B (default, offline), TensorBoard, or nowhere.

    tracker = tracking.start(config.tracking, RunDescription(id, name, group, "train", tags, config, folder))
    tracker.log({"train/loss": 2.1}, step=10)
    tracker.curves(rows)                     # of lengths.csv
    tracker.finish(exit_code=0)

Nothing that W&B or TensorBoard does raises here, delays a step, or draws from a random generator; a mistake in the configuration
raises ConfigError. A further choice is one file with a `Backend` subclass, one line in BACKENDS and one YAML in configs/tracking/.
"""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from lengthgen.errors import ConfigError
from lengthgen.tracking.redaction import redact, redact_text
from lengthgen.tracking.seam import Backend, RunDescription, Tracker
from lengthgen.tracking.tensorboard import TensorBoard
from lengthgen.tracking.wandb import Wandb

__all__ = ["BACKENDS", "RunDescription", "Tracker", "redact", "redact_text", "start"]

BACKENDS: dict[str, type[Backend]] = {"wandb": Wandb, "tensorboard": TensorBoard, "none": Backend}


def start(tracking_config: Any, description: RunDescription) -> Tracker:
    """A tracker for one run. `tracking_config`: a mapping or dataclass whose `name` is one of BACKENDS, with that backend's fields."""
    fields = (
        dataclasses.asdict(tracking_config)
        if dataclasses.is_dataclass(tracking_config)
        else dict(tracking_config)
    )
    backend = _choose(fields)
    config = backend.Config(**fields)
    text = {name: redact_text(getattr(description, name)) for name in ("name", "group")}
    tags = tuple(redact_text(str(tag)) for tag in description.tags)
    return Tracker(
        backend(
            config,
            dataclasses.replace(description, **text, tags=tags, config=redact(description.config)),
        )
    )


def _choose(fields: Mapping[str, Any]) -> type[Backend]:
    name = fields.get("name")
    if name not in BACKENDS:
        raise ConfigError(f"tracking={name!r}: expected one of {', '.join(BACKENDS)}")
    known = [field.name for field in dataclasses.fields(BACKENDS[name].Config)]
    for given in fields:
        if given not in known:
            near = difflib.get_close_matches(str(given), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
            raise ConfigError(f"tracking.{given} is not a field of tracking={name}: {hint}")
    return BACKENDS[name]
