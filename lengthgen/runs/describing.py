"""What a run writes down of itself before its training: config.yaml, provenance.json, its code."""

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf

from lengthgen import files, tracking
from lengthgen.model import Transformer, parameter_counts
from lengthgen.runs import provenance, segments
from lengthgen.runs.kernel_choice import kernels_of, linear_of
from lengthgen.runs.prepare import Run
from lengthgen.runs.step_plan import StepPlan

log = logging.getLogger(__name__)


def describe(run: Run, model: Transformer, plan: StepPlan) -> dict[str, Any]:
    """Log what is about to be done; write config.yaml and provenance.json if they are missing.

    Returns the conditions of the training (segments.py).
    """
    folder, counts, settings = run.folder, parameter_counts(model), run.config.settings
    with run.autocast():
        micro_batch = settings.batch_size // (run.ranks.size * plan.accumulate)
        kernels = kernels_of(model, micro_batch, settings.train_length, plan.compile)
        products = linear_of(model, plan.compile)
    parameters = f"{counts['total']:,} parameters ({counts['positional']:,} positional)"
    tokens = f"{run.splits.train.n_tokens:,} training tokens"
    where = f"{run.ranks.size} ranks on {run.device.type}" if run.ranks.size > 1 else run.device
    log.info("run %s: %s, %s, %s, %s", run.id, parameters, tokens, where, run.precision)
    conditions = segments.describe(run, plan, kernels, products)
    if folder.config.exists() and folder.provenance.exists():
        return conditions
    for note in run.splits.notes:
        log.info("dataset %s: %s", run.splits.label, note)
    for choice in (run.config.scheme, *run.config.modifiers):
        if choice.from_user:
            folder.keep(choice.file)
    if run.splits.user_code:
        folder.keep(run.splits.user_code)
    data = {
        "train_tokens": run.splits.train.n_tokens,
        "validation_tokens": run.splits.validation.n_tokens,
        "left_out": run.splits.notes,
    }
    facts = origin(run) | {
        "precision": run.precision,
        "kernels": kernels,
        "linear": products,
        **plan.facts(),
        "parameters": counts,
        "data": run.science["data"] | data,
        "scheme": {"structure": model.scheme.structure}
        | dataclasses.asdict(model.scheme.declaration),
    }
    if not folder.provenance.exists():
        # Of a finished run the file was damaged: these facts are not those of its training.
        again = {"rewritten": facts["started"]} if folder.ended else {}
        files.write_json(folder.provenance, tracking.redact(facts | again))
    if not folder.config.exists():
        given = run.config.as_dict()
        stored = tracking.redact(given)
        _say_what_is_hidden(given["dataset"], stored["dataset"])
        files.write_text(folder.config, OmegaConf.to_yaml(OmegaConf.create(stored)))
    return conditions


def _say_what_is_hidden(given: Mapping[str, Any], stored: Mapping[str, Any]) -> None:
    hidden = [key for key, value in given.items() if stored[key] != value]
    if set(hidden) - {"label"}:
        log.warning(
            "config.yaml holds no secret, and dataset.%s has one: `lengthgen evaluate` cannot read "
            "these data again; keep it in the environment or in ~/.netrc",
            hidden[0],
        )


def origin(run: Run) -> dict[str, Any]:
    """Command, commit, versions, device."""
    return provenance.describe(run.device)
