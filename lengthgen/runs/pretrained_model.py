"""What a run says of the pretrained model that it evaluates or trains: facts, tokeniser, scheme."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lengthgen.data import pretrained_tokenizer
from lengthgen.data.chosen import make_dataset
from lengthgen.errors import ConfigError
from lengthgen.pretrained.source import Source
from lengthgen.runs.pretrained_settings import PretrainedModel

if TYPE_CHECKING:
    from lengthgen.pretrained.loading import Described
    from lengthgen.pretrained.positions import Positions


def facts(
    found: Source, described: "Described", *, positions: str, dtype: str, bos: bool | None
) -> PretrainedModel:
    """bos: whether a token begins every window; None: as the tokeniser does."""
    begin, adds = pretrained_tokenizer.begins(str(found.folder), found.gguf)
    begins = adds if bos is None else bos
    return PretrainedModel(
        found.sha256, described.config.model_type, positions, dtype, begin if begins else None
    )


def tokenizer(found: Source) -> dict[str, Any]:
    """The options of the group `tokenizer`."""
    return {"name": "pretrained", "folder": str(found.folder), "gguf": found.gguf}


def scheme(positions: "Positions") -> dict[str, Any]:
    """The options of the group `scheme`."""
    return {"name": positions.scheme, **positions.options}


def released(positions: "Positions | None") -> dict[str, Any] | None:
    """The retrofit that the model was released with, as options of the group `retrofit`."""
    if positions is None or positions.released is None:
        return None
    name, options = positions.released
    return {"name": name, **options}


def refuse_symbols(dataset: Mapping[str, Any], folders: Sequence[Path]) -> None:
    """ConfigError for a dataset of symbols: a pretrained model reads text."""
    if make_dataset(dataset, folders).symbols is not None:
        raise ConfigError(
            f"dataset={dataset['name']} has symbols of its own, and a pretrained model reads text; "
            "give a dataset of text, as dataset=files dataset.path=FOLDER"
        )
