"""A run that extended a pretrained model, as a model of the class that it came in.

Its weights are those after the training, LoRA's matrices added to the layers beside which they
were trained. A retrofit of the rotation is transformers' rope scaling of the same form.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from lengthgen.errors import ConfigError
from lengthgen.exporting import needed
from lengthgen.exporting.architectures.base import Architecture
from lengthgen.exporting.finished import Finished
from lengthgen.exporting.read_traits import label_of, positions_of
from lengthgen.exporting.traits import NoClassError, Rotation, Slopes
from lengthgen.pretrained import loading, source, trainable
from lengthgen.pretrained.reading import Pretrained
from lengthgen.pretrained.source import Source
from lengthgen.runs.train_config import Start


@dataclass(frozen=True)
class SameClass(Architecture):
    """The class that a pretrained model came in."""

    name: str  # type: ignore[misc] # of one model


def of(run: Finished) -> SameClass | None:
    """None for a run of lengthgen's own model. NoClassError for positions without a rope type."""
    if not isinstance(run.model, Pretrained):
        return None
    _configuration(run)
    return SameClass(type(run.model.inner).__name__)


@torch.no_grad()
def build(run: Finished) -> Any:
    """A PreTrainedModel in evaluation mode, float32. ConfigError where a weight has no place."""
    transformers = needed.transformers()
    exported = transformers.AutoModelForCausalLM.from_config(
        _configuration(run), trust_remote_code=False
    )
    found = exported.load_state_dict(trainable.merged(cast(Pretrained, run.model)), strict=False)
    tied = set(getattr(exported, "all_tied_weights_keys", {}) or {})
    if unknown := [*(set(found.missing_keys) - tied), *found.unexpected_keys]:
        raise ConfigError(
            f"{type(exported).__name__} of transformers {transformers.__version__} has other "
            f"weights than the run ({', '.join(sorted(unknown)[:4])}); install the version in "
            "constraints.txt"
        )
    exported.tie_weights()
    return exported.eval()


def write_tokenizer(run: Finished, folder: Path) -> str:
    """The pretrained model's own. Returns a sentence on it for the card."""
    found = _source(run)
    given = {"gguf_file": found.gguf} if found.gguf else {}
    made = needed.transformers().AutoTokenizer.from_pretrained(
        found.folder, local_files_only=True, trust_remote_code=False, **given
    )
    made.save_pretrained(folder)
    return f"The tokenizer is that of {found.name}."


def _source(run: Finished) -> Source:
    return source.locate(cast(Start, run.run.config.start).run)


def _configuration(run: Finished) -> Any:
    """The pretrained model's, with the rope parameters of what is around its rotation."""
    start = cast(Start, run.run.config.start)
    config = loading.describe(_source(run), "exact", start.train_length).config
    label = label_of(run.model.scheme)
    positions = positions_of(run.model.scheme, label)
    if not isinstance(positions, Rotation | Slopes):
        raise NoClassError(f"{label}: only rotary positions and ALiBi are exported")
    if isinstance(positions, Rotation):
        kept = {"rope_theta": positions.spectrum.base, "rope_type": "default"}
        share = (getattr(config, "rope_parameters", None) or {}).get("partial_rotary_factor")
        if share is not None:
            kept["partial_rotary_factor"] = share
        config.rope_parameters = kept | dict(positions.parameters)
    if isinstance(getattr(config, "max_position_embeddings", None), int):
        config.max_position_embeddings = max(run.train_length, config.max_position_embeddings)
    return config
