"""Training that starts from trained weights: `train from=RUN train_length=LONGER`; from=hf:MODEL.

A short training at a longer length under a retrofit is how position interpolation (Chen et al.,
arXiv 2306.15595), YaRN (arXiv 2309.00071) and LongRoPE (arXiv 2402.13753) extend a model. Model,
scheme, modifiers and tokeniser are those of the run or the pretrained model. Its scheme keeps the
length that it was trained at; a retrofit goes around it, whose factor, where it is open, is how
much longer the new windows are. The identity of the new run holds the hash of the weights that it
starts from.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lengthgen.errors import CheckpointError, ConfigError
from lengthgen.pretrained import source
from lengthgen.pretrained.source import PREFIX
from lengthgen.runs import pretrained_model, stored_config
from lengthgen.runs.folder import RunFolder
from lengthgen.runs.pretrained_settings import PretrainedModel
from lengthgen.runs.train_config import START, Start, TrainConfig

if TYPE_CHECKING:
    from lengthgen.model import Transformer
    from lengthgen.pretrained.reading import Pretrained
    from lengthgen.schemes.base import Scheme

# What the new training takes from the run that it starts from.
TAKEN = ("model", "scheme", "modifiers", "tokenizer")


def resolved(
    config: Mapping[str, Any], user_folders: Sequence[Path]
) -> tuple[dict[str, Any], list[Path]]:
    """A training's configuration with what it takes from the run that it starts from, if from one.

    And the folders of code, the run's own among them. Raises ConfigError and CheckpointError.
    """
    config, folders = dict(config), list(user_folders)
    name, retrofit = config.get(START), config.get("retrofit")
    if is_pretrained(name):
        return completed(config, folders), folders
    if config.get("adapter"):
        raise ConfigError(
            "adapter without a pretrained model: expected from=hf:MODEL; a model of lengthgen is "
            "trained whole"
        )
    if isinstance(name, Mapping):  # resolved already, as config.yaml holds it
        return config, folders
    if name is None:
        if retrofit:
            name = retrofit.get("name") if isinstance(retrofit, Mapping) else retrofit
            raise ConfigError(
                f"retrofit={name} in a training needs from=RUN or from=hf:MODEL, whose weights it "
                f"trains on; of a trained run: lengthgen evaluate run=<id> +retrofit={name}"
            )
        return config, folders
    folder = stored_config.finished_run(config, START)
    # A user's own scheme is in --config-dir again, or the run is refused.
    stored, folders = stored_config.read(folder, user_folders, trust_code=False)
    started = {
        "run": folder.path.name,
        "weights_sha256": folder.ended["weights_sha256"],
        "train_length": stored["train_length"],
        "retrofit": retrofit or None,
    }
    if stored.get(START):
        raise ConfigError(
            f"from={folder.path.name}: that run was itself extended, from "
            f"{stored[START]['run']}; start from that one, or from one trained from the beginning"
        )
    taken = {key: stored[key] for key in TAKEN if key in stored}
    return config | taken | {START: started, "retrofit": None}, folders


def is_pretrained(start: Any) -> bool:
    """Whether `from` names a pretrained model, as it is given or as config.yaml holds it."""
    name = start.get("run") if isinstance(start, Mapping) else start
    return isinstance(name, str) and name.startswith(PREFIX)


def completed(config: Mapping[str, Any], folders: Sequence[Path]) -> dict[str, Any]:
    """With what a training takes from its pretrained model; any other one as it is.

    The model's files are looked for anew each time. CheckpointError where they are not those that
    the training began with.
    """
    from lengthgen.pretrained import loading

    given, config = config.get(START), dict(config)
    if not is_pretrained(given):
        return config
    stored: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    name = str(stored.get("run", given))
    found = source.locate(name)
    described = loading.describe(found, "exact", stored.get("train_length"))
    if stored and found.sha256 != stored.get("weights_sha256"):
        raise CheckpointError(
            f"from={name}: the files are {found.sha256[:12]} and were "
            f"{str(stored.get('weights_sha256'))[:12]} when this training began; get those again"
        )
    positions = described.positions
    assert positions is not None, "describe reads exactly, or refuses"
    pretrained_model.refuse_symbols(config["dataset"], [each / "dataset" for each in folders])
    facts = pretrained_model.facts(found, described, positions="exact", dtype="float32", bos=None)
    started = {
        "run": name,
        "weights_sha256": found.sha256,
        "train_length": described.dimensions.train_length,
        "retrofit": stored["retrofit"] if stored else config.get("retrofit") or None,
        "released": pretrained_model.released(positions),
    }
    adapter = "+lora" if config.get("adapter") else ""
    taken = {
        "model": {"name": found.name + adapter, **dataclasses.asdict(facts)},
        "scheme": pretrained_model.scheme(positions),
        "modifiers": {},
        "tokenizer": pretrained_model.tokenizer(found),
    }
    # What an evaluation asks for stays: the retrofit of the training is in `from`.
    retrofit = config.get("retrofit") if stored else None
    return config | taken | {START: started, "retrofit": retrofit}


def pretrained(config: TrainConfig) -> "Pretrained":
    """The pretrained model that the training starts from, ready to be trained on. On the CPU."""
    from lengthgen.pretrained import loading, trainable

    start = cast(Start, config.start)
    found = source.locate(start.run)
    described = loading.describe(found, "exact", start.train_length)
    bos = cast(PretrainedModel, config.model).bos
    model = loading.load(found, described, bos=bos)
    trainable.recompute_layers(model)
    if config.adapter:
        trainable.add_lora(model, config.adapter, config.settings.seed)
    return model


def around(config: TrainConfig, scheme: "Scheme") -> "Scheme":
    """The scheme under the retrofit of the training, and told the length of the new windows."""
    from lengthgen.retrofits import base
    from lengthgen.schemes.wrapper import Wrapper

    start = config.start
    if start is None:
        return scheme
    if start.retrofit:
        scheme, retrofit = base.apply(start.retrofit.cls, start.retrofit.options, scheme)
        if type(retrofit).calibrate is not base.Retrofit.calibrate:
            raise ConfigError(
                f"retrofit {start.retrofit.name} searches for its options on trained weights; "
                "expected one that does not in a training"
            )
    outer = Wrapper(None, scheme)
    length = config.settings.train_length
    outer.dimensions = dataclasses.replace(scheme.dimensions, train_length=length)
    return outer


def load_weights(config: TrainConfig, model: "Transformer") -> None:
    """Put the weights of the run that the training starts from into its model. CheckpointError."""
    from lengthgen.training import checkpoint

    start = config.start
    if start is None or start.pretrained:  # whose weights the model has already
        return
    device = model.embedding.weight.device
    folder = RunFolder(Path(config.settings.results) / "runs" / start.run)
    saved = checkpoint.load_newest(folder.checkpoints, device, start.run)
    if saved is None:
        raise CheckpointError(f"from={start.run}: its weights are gone; train it again")
    with checkpoint.fitting(saved):
        model.load_state_dict(_as_wrapped(saved["model"], model))
    found = checkpoint.sha256_of(saved["model"])
    if found != start.weights_sha256:
        raise CheckpointError(
            f"from={start.run}: its weights are {found[:12]} and were {start.weights_sha256[:12]} "
            "when this training began; train it again"
        )


def _as_wrapped(weights: Mapping[str, Any], model: "Transformer") -> dict[str, Any]:
    """The weights under the names that they have where `around` has wrapped their scheme."""
    return {name: weights[_bare(name, model)] for name in model.state_dict()}


def _bare(name: str, model: "Transformer") -> str:
    """A weight's name without the wrappers that `around` has put in."""
    from lengthgen.retrofits.base import Retrofit
    from lengthgen.schemes.wrapper import Wrapper

    path = bare = "scheme."
    scheme = model.scheme
    while isinstance(scheme, Wrapper) and name.startswith(f"{path}inner."):
        added = scheme is model.scheme or isinstance(scheme, Retrofit)
        path, bare = f"{path}inner.", bare if added else f"{bare}inner."
        scheme = scheme.inner
    return bare + name[len(path) :] if name.startswith(path) else name
