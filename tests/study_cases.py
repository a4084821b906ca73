"""Evaluations with losses made by hand, and studies of a few seconds."""

import json
from pathlib import Path

import numpy as np

from lengthgen import files
from lengthgen.statistics.paired import Paired
from lengthgen.studies.claims import Claim
from lengthgen.studies.losses import EvaluatedArm, EvaluatedRun

L, DOCUMENTS, BLOCK = 16, 12, 4


def evaluated(
    folder: Path, losses: dict[str, np.ndarray], floors: dict[str, np.ndarray] | None = None
) -> EvaluatedRun:
    """An evaluation folder as a run writes it; the name of its run ends in the seed.

    losses: `protocol/length` -> (documents, positions).
    """
    config = {"train_length": L, "seed": int(folder.parent.parent.name.rpartition("-")[2])}
    files.write_text(folder.parent.parent / "config.yaml", json.dumps(config))
    arrays, outcomes = {}, []
    for key, values in losses.items():
        protocol, length = key.split("/")
        outcomes.append(
            {"protocol": protocol, "eval_length": int(length), "status": "ok", "reason": ""}
        )
        windows = len(values)
        found = {
            "losses": values.astype(np.float32),
            "document": np.arange(windows),
            "start": np.full(windows, 64 - int(length)),
        }
        found["first"] = np.full(windows, int(length) - values.shape[1])
        if floors:
            found["floors"] = floors[key]
        arrays |= {f"{key}/{name}": array for name, array in found.items()}
    files.write_npz(folder / "losses.npz", arrays)
    files.write_json(folder / "settings.json", {"outcomes": outcomes})
    return EvaluatedRun(folder)


def subject(
    tmp_path: Path,
    name: str,
    means: dict[str, float],
    n_seeds: int = 4,
    noise: float = 0.01,
    floor: float = 0.5,
) -> EvaluatedArm:
    """Losses of these means, the same document effects in every subject, a constant floor."""
    evaluations = []
    for seed in range(n_seeds):
        generator = np.random.default_rng([seed, *name.encode()])
        shape = {
            key: (DOCUMENTS, int(key.split("/")[1]) if key.startswith("position") else BLOCK)
            for key in means
        }
        documents = np.random.default_rng(0).normal(size=(DOCUMENTS, 1))
        losses = {
            key: means[key] + 0.2 * documents + noise * generator.normal(size=shape[key])
            for key in means
        }
        floors = {key: floor + 0.2 * documents + np.zeros(shape[key]) for key in means}
        evaluations.append(
            evaluated(tmp_path / "runs" / f"{name}-{seed}" / "evaluation" / "e", losses, floors)
        )
    return EvaluatedArm(name, evaluations)


def with_bigram(made: EvaluatedArm, loss: float) -> EvaluatedArm:
    """With a bigram table of this mean loss on every document, at L."""
    for one in made.evaluations:
        path = one.folder / "losses.npz"
        with np.load(path) as held:
            arrays = dict(held)
        of_table = np.full(arrays[f"matched/{L}/losses"].shape, loss)
        files.write_npz(path, arrays | {f"matched/{L}/bigram": of_table})
    return EvaluatedArm(made.name, [EvaluatedRun(one.folder) for one in made.evaluations])


def write_mine(folder: Path, **change) -> Path:
    """A study that is right but for what is changed."""
    fine = {"claim": "x", "scales": {"s": {"seeds": 1}}, "arms": {"a": []}}
    fine["claims"] = {
        "c": {
            "measure": "loss",
            "subject": "a",
            "length_factor": 1.0,
            "predict": "above 0",
            "primary": True,
        }
    }
    path = folder / "mine.yaml"
    path.write_text(json.dumps(fine | change))
    return path


def claim(**given) -> Claim:
    return Claim(
        **{"measure": "loss", "subject": "arm", "length_factor": 2.0, "predict": "above 0"} | given
    )


def paired(mean: float, spread: float = 0.01, n_seeds: int = 6) -> Paired:
    values = mean + spread * np.random.default_rng(1).normal(size=(n_seeds, 1, 40))
    return Paired(values * 10, np.full((1, 40), 10.0))


MINE = """\
# Do rows beyond training get a gradient
claim: a small study of the tests
show: excess
against: [learned]
exposure: [learned, t5_bias]
words: true
base:
  - dataset=lag_copy
  - [dataset.n_symbols=16, dataset.train_documents=8, dataset.document_length=256]
  - model=nano
  - train_length=16
  - batch_size=2
  - steps=2
  - evaluation=study
  - evaluation.documents=4
scales:
  small: {seeds: 2}
arms:
  learned: [scheme=learned]
  t5_bias: [scheme=t5_bias]
conditions:
  wrap: {arms: [learned], overrides: [retrofit=learned_rows, retrofit.tail=wrap]}
claims:
  gradient:
    {claim: no gradient, measure: gradient, subject: learned, predict: within 0, primary: true,
     about_training: true}
  far:
    claim: untrained
    measure: excess
    subject: t5_bias
    baseline: learned
    length_factor: 4
    predict: below 0
    about_training: true
  seen:
    claim: sees
    measure: beyond_window
    subject: t5_bias
    length_factor: 2
    window: 1
    predict: above 0
    about_training: true
"""
