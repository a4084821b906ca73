"""The top-level keys of `lengthgen evaluate model=hf:...`: their defaults and values. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lengthgen.attention.kernel_names import ATTENTION
from lengthgen.config import dataclass_from, paths
from lengthgen.errors import ConfigError
from lengthgen.pretrained.ways import DTYPES, HOW
from lengthgen.runs.run_settings import check_device, check_threads

GROUPS = ("dataset", "evaluation", "tracking", "retrofit")


@dataclass(frozen=True)
class PretrainedModel:
    """What a run of a pretrained model has in the place of a model's sizes."""

    sha256: str  # of the weight files and their configuration
    architecture: str  # model_type of transformers
    positions: str
    dtype: str
    bos: int | None  # the token before every window


@dataclass
class PretrainedSettings:
    """The top-level keys of `lengthgen evaluate model=hf:...`; words in configs/pretrained.yaml."""

    # the model, given as model=hf:...: hf:FOLDER, hf:FILE.gguf, hf:OWNER/NAME of the Hugging Face
    # hub, or hf:smollm2
    pretrained: str
    # exact: by lengthgen, from what the configuration says; as_released: by the model's own code
    positions: str = "exact"
    # tokens that it was trained on at a time; null: as its configuration says
    train_length: int | None = None
    dtype: str = "float32"  # of weights and activations: float32, bfloat16 or float16
    # true: every window begins with the token that begins a text; null: as its tokenizer does
    bos: bool | None = None
    revision: str | None = None  # of the hub's repository; null: its newest
    device: str = "auto"  # auto: CUDA where there is one; or cpu, cuda, cuda:1
    threads: int | None = None  # CPU threads; null: torch's own choice
    # attention kernel; auto: the fastest exact one; or cpu, sdpa, flex, reference
    kernel: str = "auto"
    # folder of run folders, sweeps, tables and figures; relative to the current folder
    results: str = "results"
    # folder of tokenised text; null: $LENGTHGEN_CACHE, or ~/.cache/lengthgen
    cache: str | None = None

    def __post_init__(self) -> None:
        dataclass_from.limit(self, "", "> 0", "threads")
        check_threads(self.threads)
        dataclass_from.limit(self, "", ">= 4", "train_length")
        dataclass_from.choice("positions", self.positions, HOW)
        dataclass_from.choice("dtype", self.dtype, DTYPES)
        check_device(self.device)
        dataclass_from.choice("kernel", self.kernel, ATTENTION)
        self.results = str(paths.folder(self.results, "results"))
        if self.cache is not None:
            self.cache = str(paths.folder(self.cache, "cache"))


def typed(config: Mapping[str, Any]) -> PretrainedSettings:
    """The keys of a plain, resolved configuration. Raises ConfigError."""
    keys = {key: value for key, value in config.items() if key not in GROUPS}
    settings = dataclass_from.build(PretrainedSettings, keys, "")
    if settings.positions == "as_released" and config.get("retrofit"):
        raise ConfigError(
            "positions=as_released with a retrofit: a model's own code takes none; leave one of "
            "the two out"
        )
    return settings
