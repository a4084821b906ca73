"""Which subjects another one beats at what they cost: lower loss for no more time and memory.

A beats B at a length if A's loss is surely lower, and A is neither surely slower nor has to keep
more. Surely: the 95 % interval of the paired difference of losses, the least and the most of the
rounds' ratios of times. Memory is not measured but counted, since equal computations differ by a
third in what a process occupies: the keys and values that a layer has to keep to predict the next
token after n tokens. A window keeps its W last and its sinks, everything else all n, whatever it
does to positions; the biases are the same for all n.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lengthgen.errors import DataError
from lengthgen.studies.losses import EvaluatedArm, EvaluatedRun, Material
from lengthgen.studies.measured import Mean

Row = dict[str, Any]
WINDOWS = ("hard_window", "lm_infinite", "streaming_llm")  # retrofits that keep a part of the keys
FLOAT = 4  # bytes


def rows(material: Material, costs: Sequence[Mapping[str, Any]]) -> list[Row]:
    """FRONTIER: every subject at every length beyond its training, and who beats it there."""
    by_subject = {row["subject"]: row for row in costs}
    found = []
    for length in _lengths(material):
        losses = {}
        for name, subject in material.subjects.items():
            try:
                losses[name] = subject.total("matched", length)
            except DataError:
                continue
        kept = {name: keys(material[name].evaluations[0], length) for name in losses}
        for name, loss in losses.items():
            beaten = []
            for other in losses:
                cheaper = (
                    other != name
                    and kept[other] <= kept[name]
                    and not _surely_slower(by_subject[other], by_subject[name])
                )
                if cheaper and _surely_lower(losses[other], loss):
                    beaten.append(other)
            value, low, high = Mean(loss).bounds
            row = {"subject": name, "eval_length": length, "loss": value, "low": low, "high": high}
            row |= {"keys": kept[name], "kept_mib": mib(material[name].evaluations[0], length)}
            found.append(row | {"beaten_by": "; ".join(beaten)})
    return found


def keys(evaluation: EvaluatedRun, length: int) -> int:
    """Keys (with their values) that a layer keeps after `length` tokens."""
    retrofit = evaluation.retrofit
    name, trained = retrofit.get("name"), evaluation.train_length
    if name not in WINDOWS:
        return length
    sinks = int(retrofit.get("sinks") or 0)
    whole = trained - sinks if name == "streaming_llm" else trained
    return min(length, int(retrofit.get("window") or whole) + sinks)


def mib(evaluation: EvaluatedRun, length: int) -> float:
    """MiB of these keys and values in all layers, in float32."""
    model = evaluation.config["model"]
    a_layer = 2 * int(model["width"]) * FLOAT * keys(evaluation, length)
    return a_layer * int(model["n_layers"]) / 2**20


def _lengths(material: Material) -> list[int]:
    """Beyond the training length of some subject."""
    subjects: list[EvaluatedArm] = list(material.subjects.values())
    lengths = {
        (length, subject.train_length)
        for subject in subjects
        for length in subject.evaluations[0].lengths("matched")
    }
    return sorted({length for length, trained in lengths if length > trained})


def _surely_slower(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """By the ratios to the same subject in every round."""
    return bool(one["of_first_low"] > other["of_first_high"])


def _surely_lower(one: Any, other: Any) -> bool:
    return Mean(one.minus(other)).bounds[2] < 0
