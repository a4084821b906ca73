"""A source -> a model in memory, by the library transformers, with nothing of the folder run."""

import contextlib
import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lengthgen.config.dataclass_from import choice
from lengthgen.data import hub
from lengthgen.errors import ConfigError, DataError, TooLargeError, is_out_of_memory
from lengthgen.pretrained import attention, checks, reading
from lengthgen.pretrained.as_released import AsReleased
from lengthgen.pretrained.positions import (
    Positions,
    length_before_scaling,
    positions_of,
    trained_length,
)
from lengthgen.pretrained.reading import Pretrained
from lengthgen.pretrained.source import Source, locate
from lengthgen.pretrained.ways import DTYPES, HOW
from lengthgen.schemes.base import Dimensions

EXTRA = 'pip install "lengthgen[pretrained]"'
# Rope scalings of transformers whose angles follow the window that is read.
FOLLOWS_LENGTH = ("dynamic", "longrope")


@dataclass(frozen=True)
class Described:
    """A model's configuration as lengthgen understands it. positions: None for as_released."""

    config: Any  # of transformers
    dimensions: Dimensions
    positions: Positions | None


def describe(source: Source, how: str, train_length: int | None) -> Described:
    """What a source's configuration says. Raises ConfigError and DataError; loads no weight.

    how: exact or as_released. train_length: None: as the configuration says.
    """
    _require_transformers()
    checks.check(source)
    config = _configuration(source)
    heads, width = config.num_attention_heads, config.hidden_size
    head_dim = getattr(config, "head_dim", None) or width // heads
    length = trained_length(config, train_length)
    dimensions = Dimensions(config.num_hidden_layers, heads, head_dim, width, length)
    positions = positions_of(config, head_dim) if how == "exact" else None
    return Described(config, dimensions, positions)


def load(
    source: Source,
    described: Described,
    *,
    dtype: str = "float32",
    device: torch.device | str = "cpu",
    bos: int | None = None,
) -> Pretrained:
    """The model, in evaluation mode. Raises ConfigError, DataError and TooLargeError.

    dtype: one of ways.DTYPES. bos: the token before every window; None: none.
    """
    model = _weights(source, described.config, getattr(torch, dtype)).to(device).eval()
    dimensions, positions = described.dimensions, described.positions
    if positions is None:
        return reading.as_released(model, _as_released(model, described), bos, source.name)
    before = length_before_scaling(described.config, dimensions.train_length)
    scheme = reading.make_scheme(positions, dimensions, before)
    return reading.exactly(model, scheme, bos, source.name)


def load_pretrained(
    words: str,
    *,
    positions: str = "exact",
    train_length: int | None = None,
    dtype: str = "float32",
    device: torch.device | str = "cpu",
    bos: int | None = None,
    revision: str | None = None,
) -> Pretrained:
    """A pretrained model with the interface of lengthgen's own, in evaluation mode.

    words: hf:FOLDER, hf:FILE.gguf, hf:OWNER/NAME of the hub, or hf:smollm2. positions, dtype,
    train_length, revision: as the keys of `lengthgen evaluate model=hf:...`. bos: the token before
    every window; None: none. Raises ConfigError, DataError and TooLargeError.
    """
    for key, value, known in (("positions", positions, HOW), ("dtype", dtype, DTYPES)):
        choice(key, value, known)
    found = locate(words, revision)
    described = describe(found, positions, train_length)
    return load(found, described, dtype=dtype, device=device, bos=bos)


def _as_released(model: nn.Module, described: Described) -> AsReleased:
    config, table = described.config, attention.table_of(model)
    rope = getattr(config, "rope_parameters", None) or {}
    whole = rope.get("rope_type") in FOLLOWS_LENGTH
    # MPT makes its biases for so many tokens, and no more.
    longest = config.max_seq_len if config.model_type == "mpt" else None
    if table is not None:
        longest = len(table)
    return AsReleased(described.dimensions, type(model).__name__, longest, whole)


def _require_transformers() -> None:
    try:
        import transformers
    except ImportError:
        raise ConfigError(f"model=hf:... needs the library transformers: {EXTRA}") from None
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def _configuration(source: Source) -> Any:
    """transformers' configuration of a decoder that it knows. DataError for any other."""
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as DECODERS

    if not source.gguf:
        stored = checks.read_config(source.folder)
        kind = stored.get("model_type")
        if kind not in DECODERS:
            code = stored.get("auto_map")
            why = (
                f"it needs code of its own ({sorted(map(str, code.values()))[0][:60]}), and "
                "lengthgen runs none of a model's folder"
                if isinstance(code, dict) and code
                else "expected a decoder-only model that transformers knows, as llama or gpt2"
            )
            raise DataError(f"{source.name}: model_type={kind!r}: {why}")
    with _in_one_line(source, "its configuration"):
        config = transformers.AutoConfig.from_pretrained(  # nosec B615 # a local folder
            source.folder, local_files_only=True, trust_remote_code=False, **_gguf(source)
        )
    config = getattr(config, "text_config", None) or config
    if getattr(config, "is_encoder_decoder", False) or config.model_type not in DECODERS:
        raise DataError(
            f"{source.name}: model_type={config.model_type!r} is no decoder-only language model"
        )
    return config


def _weights(source: Source, config: Any, dtype: torch.dtype) -> nn.Module:
    """A model with every weight read from the source's files."""
    import transformers

    _refuse_unlike(source, config)
    with _in_one_line(source, "its weights"):
        loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(  # nosec B615 # a local folder
            source.folder,
            config=config,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=None if source.gguf else True,
            output_loading_info=True,
            **_gguf(source),
        )
    model, about = loaded
    missing = sorted(about.get("missing_keys") or [])
    if missing and not source.gguf:
        raise DataError(
            f"{source.name}: {len(missing)} weights are in no file (first {missing[0]}): "
            "they would be random numbers; get the folder anew"
        )
    return model


def _refuse_unlike(source: Source, config: Any) -> None:
    """DataError for a configuration of more weights than the files hold; TooLargeError."""
    import transformers

    if source.gguf:
        return
    with _in_one_line(source, "its configuration"), torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    wanted = sum(each.numel() for each in model.parameters())
    held = sum(checks.stored_elements(path) for path in source.weights)
    # Tied weights are stored once or twice.
    if wanted > 1.01 * held:
        raise DataError(
            f"{source.name}: config.json describes {wanted:,} weights and the files hold {held:,}"
        )


def _gguf(source: Source) -> dict[str, str]:
    return {"gguf_file": source.gguf} if source.gguf else {}


@contextlib.contextmanager
def _in_one_line(source: Source, what: str) -> Iterator[None]:
    """What transformers raises on a stranger's files, as a DataError."""
    library = logging.getLogger("transformers")
    before = library.level
    library.setLevel(logging.ERROR)
    try:
        # Its bar over a GGUF file's tensors has no switch.
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    except Exception as error:
        if is_out_of_memory(error):
            raise TooLargeError(
                f"{source.name} does not fit in memory; choose dtype=bfloat16, a "
                "smaller model, or another device"
            ) from None
        raise DataError(
            f"{source.name}: transformers cannot read {what}: {hub.first_line(error)}"
        ) from None
    finally:
        library.setLevel(before)
