"""A finished run as a folder that `transformers.AutoModelForCausalLM.from_pretrained` loads.

    config.json  generation_config.json  model.safetensors   the model, float32
    tokenizer.json  tokenizer_config.json                    where the text has a tokeniser
    README.md  loss_by_length.png                            the card
    modeling_lengthgen.py                                    with --own-code alone
    lengthgen.json                                           run, commit, sums of all files

The folder is made beside its place, loaded from there, compared with the run's own model, and
renamed into place: it appears whole and equal, or not at all.
"""

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lengthgen import files
from lengthgen.errors import ConfigError, DiskError
from lengthgen.exporting import (
    architectures,
    card,
    evaluated,
    extended,
    needed,
    stock,
    target,
    tokenizer_files,
)
from lengthgen.exporting.architectures.base import Architecture
from lengthgen.exporting.finished import Finished
from lengthgen.exporting.read_traits import traits_of
from lengthgen.exporting.traits import InputTable, NoClassError, Rotation, Traits

log = logging.getLogger(__name__)
WEIGHTS = "model.safetensors"
ABANDONED = 3600.0  # seconds after which an unfinished folder is a killed process's
# Of the logits, as a share of the largest: float32 angles of transformers at 1,000s of positions.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Request:
    """What is asked of an export. max_length: input that a bounded class takes; None: L."""

    own_code: bool = False
    max_length: int | None = None
    overwrite: bool = False
    evaluation: str | None = None


@dataclass(frozen=True)
class Plan:
    """How a model is written: as one of a stock class, or (architecture None) by lengthgen's."""

    architecture: Architecture | None
    traits: Traits | None
    reason: str | None  # why it is by lengthgen's code
    length: int  # the longest input of a bounded class

    @property
    def class_name(self) -> str:
        return self.architecture.name if self.architecture else "LengthgenForCausalLM"

    @property
    def remembers(self) -> bool:
        """Whether a window's logits depend on those that the model has read before."""
        positions = self.traits.positions if self.traits else None
        parameters = positions.parameters if isinstance(positions, Rotation) else {}
        return parameters.get("rope_type") == "dynamic"

    @property
    def bound(self) -> str | None:
        """The configuration key that ends the input, if one does."""
        return self.architecture.bound if self.architecture else None


def write(run: Finished, folder: Path, request: Request) -> list[str]:
    """Make the folder. Returns what a user should know of it, a line each.

    ConfigError: the folder is in use, no class has the model, a package is missing.
    """
    target.check(folder, request.overwrite)
    files.remove_leftovers(folder, older_than=ABANDONED)
    transformers = needed.transformers()
    plan = choose(run, request)
    evaluation = evaluated.choose(
        run.folder.path, run.evaluation_id, request.evaluation, run.retrofit
    )
    replaced = request.overwrite
    with (
        needed.quiet(transformers),
        files.replacing_folder(folder, keep=lambda: not replaced) as part,
    ):
        _save(run, plan, part)
        tokenizer = (
            extended.write_tokenizer(run, part)
            if isinstance(plan.architecture, extended.SameClass)
            else tokenizer_files.write(run.tokenizer, part, plan.length)
        )
        differences = _compare(run, plan, part)
        if evaluation and evaluation.figure:
            shutil.copyfile(evaluation.figure, part / card.PICTURE)
        facts = _facts(run, plan, part, differences, tokenizer)
        files.write_text(part / "README.md", card.text(facts, evaluation))
        about = {"run": run.id, "commit": run.provenance.get("commit"),
                 "weights_sha256": run.weights_sha256, "class": plan.class_name}  # fmt: skip
        target.write_manifest(part, about)
    written = files.read_json(folder / target.MANIFEST, {})
    if written.get("files", {}).get(WEIGHTS) != facts.file_sha256:
        raise ConfigError(f"{folder} was made by another process meanwhile; nothing was written")
    lines = _lines(folder, plan, facts)
    if evaluation is None:
        lines.append(
            f"no evaluation of {run.label} is stored; the card has none "
            "(`lengthgen evaluate run=... +retrofit=...` makes one)"
        )
    return lines


def choose(run: Finished, request: Request) -> Plan:
    """The class for the run's model. NoClassError without one, unless own code is asked for."""
    L = run.train_length
    if (same := extended.of(run)) is not None:
        return Plan(same, None, None, L)
    try:
        traits = traits_of(run.model)
        architecture = architectures.choose(traits)
    except NoClassError as error:
        if not request.own_code:
            raise
        run.refuse_own_code()
        return Plan(None, None, str(error).partition(";")[0], L)
    length = request.max_length or L
    if request.max_length is not None:
        _check_length(architecture, traits, length)
    return Plan(architecture, traits, None, length)


def _check_length(architecture: Architecture, traits: Traits, length: int) -> None:
    if architecture.bound is None:
        raise ConfigError(f"--max-length {length}: {architecture.name} takes input of any length")
    longest = traits.positions.longest if isinstance(traits.positions, InputTable) else None
    if length < 2 or (longest is not None and length > longest):
        most = f" to {longest}, where {traits.label} ends" if longest else " or more"
        raise ConfigError(f"--max-length {length}: expected 2{most}")


def _save(run: Finished, plan: Plan, part: Path) -> None:
    """Write weights and configurations. DiskError."""
    from safetensors import SafetensorError

    begin = run.model.embedding.num_embeddings - 1
    if isinstance(plan.architecture, extended.SameClass):
        exported = extended.build(run)
        begin = run.tokenizer.begin
    elif plan.architecture is not None and plan.traits is not None:
        exported = stock.build(plan.architecture, plan.traits, run.model, plan.length)
    else:
        from lengthgen.exporting import own_code

        facts = run.facts()
        config = own_code.LengthgenConfig(facts, bos_token_id=begin, eos_token_id=begin)
        exported = own_code.LengthgenForCausalLM(config)
        exported.transformer.load_state_dict(run.model.state_dict())
        exported.config.auto_map = own_code.AUTO_MAP
        files.write_text(part / own_code.FILE, own_code.CODE)
    # Where a table is longer, or a retrofit is for longer input, nothing else says it.
    exported.config.train_length = run.train_length
    exported.generation_config = needed.transformers().GenerationConfig(
        bos_token_id=begin,
        eos_token_id=begin,
        pad_token_id=begin,
        use_cache=plan.architecture is not None,
    )
    try:
        exported.save_pretrained(part)
    except SafetensorError as error:  # no OSError, whatever it is about
        reason = " ".join(str(error).split())
        raise DiskError(f"cannot write {WEIGHTS} of the export: {reason}") from error
    # safetensors makes a file that its owner alone can read.
    (part / WEIGHTS).chmod((part / "config.json").stat().st_mode)


def _compare(run: Finished, plan: Plan, part: Path) -> dict[int, tuple[float, float]]:
    """Tokens -> largest difference of the logits of the written model, and the largest logit.

    ConfigError where they are not the same.
    """
    if plan.architecture is not None:
        loaded = needed.transformers().AutoModelForCausalLM.from_pretrained(part)
    else:
        from lengthgen.exporting import own_code

        loaded = own_code.LengthgenForCausalLM.from_pretrained(part)
    if (found := type(loaded).__name__) != plan.class_name:
        raise ConfigError(f"transformers loads {found} where {plan.class_name} was written")
    differences = {}
    for length in (run.train_length, 2 * run.train_length):
        if (plan.bound and length > plan.length) or run.model.scheme.refusal(length):
            continue
        tokens = torch.from_numpy(run.text(length).astype(np.int64))[None]
        difference, scale = stock.largest_difference(run.model, loaded.eval(), tokens)
        if not difference <= TOLERANCE * max(1.0, scale):
            raise ConfigError(
                f"the logits of {plan.class_name} differ by {difference:.1e} at {length} tokens: "
                f"transformers {needed.transformers().__version__} computes another model; nothing "
                "was written"
            )
        differences[length] = (difference, scale)
    return differences


def _facts(
    run: Finished, plan: Plan, part: Path, differences: dict[int, tuple[float, float]], tok: str
) -> card.Facts:
    return card.Facts(
        run=run.id,
        label=run.label,
        class_name=plan.class_name,
        own_code=plan.reason,
        bound=(plan.bound, plan.length) if plan.bound else None,
        raisable=plan.architecture is not None and plan.architecture.raisable,
        config=run.config,
        provenance=run.provenance,
        weights_sha256=run.weights_sha256,
        file_sha256=files.sha256(part / WEIGHTS),
        differences=differences,
        tokenizer=tok,
        remembers=plan.remembers,
    )


def _lines(folder: Path, plan: Plan, facts: card.Facts) -> list[str]:
    difference = max((d for d, _ in facts.differences.values()), default=float("nan"))
    lines = [
        f"{facts.run} -> {folder}: {plan.class_name}, logits within {difference:.1e} of lengthgen's"
    ]
    if plan.remembers:
        lines.append(
            "transformers keeps the base of the longest window so far; lengthgen's follows each"
        )
    if plan.reason:
        lines.append(f"loading it needs trust_remote_code=True: {plan.reason}")
    if facts.bound:
        key, length = facts.bound
        lines.append(f"{key} = {length}: longer input is refused; --max-length N allows more")
    if facts.tokenizer == tokenizer_files.NONE:
        lines.append("without a tokenizer: the ids are symbols, not text")
    return lines
