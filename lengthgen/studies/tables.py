"""The rows of a study's tables (study_folder.py): every subject at every length, what repairs give back, effective context, and the verdicts.

Nats a token; 95 % intervals over seeds and documents.
"""

from collections.abc import Iterator
from typing import Any

from lengthgen.data.sources import dirichlet
from lengthgen.errors import DataError
from lengthgen.statistics import information
from lengthgen.statistics.thresholds import DELTA
from lengthgen.studies import measures
from lengthgen.studies.claims import Claim, Verdict
from lengthgen.studies.declaration import Study
from lengthgen.studies.losses import Material, Subject
from lengthgen.studies.study_folder import KEY_TOKENS

TOKENS = 2**21  # of a text whose mutual information is measured


def values(study: Study, material: Material) -> list[dict[str, Any]]:
    """VALUES of every subject."""
    rows = []
    for name in study.subjects():
        subject = material[name]
        about = _about(subject)
        for protocol, length in _asked(subject):
            for measure in dict.fromkeys(("loss", study.show)):
                rows.append(
                    about
                    | {
                        "protocol": protocol,
                        "eval_length": length,
                        "measure": measure,
                        **_cell(subject, measure, protocol, length),
                    }
                )
    return rows


def repairs(study: Study, material: Material) -> list[dict[str, Any]]:
    """REPAIRS of every arm that loses something beyond its training length, surely, at the lengths where it does."""
    rows = []
    for arm in study.arms:
        for condition in study.conditions_of(arm):
            rows += _repair(material, arm, condition)
    return rows


def claims(study: Study, verdicts: list[Verdict]) -> list[dict[str, Any]]:
    """CLAIMS."""
    rows = []
    for v in verdicts:
        declared = {
            key: getattr(v.claim, key)
            for key in (
                "claim",
                "primary",
                "measure",
                "subject",
                "baseline",
                "length_factor",
                "predict",
            )
        }
        numbers = {
            key: getattr(v, key)
            for key in ("value", "low", "high", "p", "detectable", "n_seeds", "n_documents")
        }
        rows.append({"study": study.name, "name": v.name, **declared, **numbers, "verdict": v.word})
    return rows


def effective_context(material: Material) -> list[dict[str, Any]]:
    """CONTEXT of every subject on Dirichlet documents: how many symbols the best predictor would have to see to have the loss.

    f^-1(f(L') + excess), f the mean floor by symbols seen (sources/dirichlet.py): the excess is over the floor of the same tokens, so that
    the luck of the documents drawn is taken off.
    """
    rows = []
    for name, subject in material.subjects.items():
        config = subject.evaluations[0].config
        if config["dataset"]["name"] != "dirichlet":
            continue
        source = dirichlet.Dirichlet(config["dataset"]["n_symbols"], config["dataset"]["beta"])
        for protocol, length in _asked(subject):
            if protocol == "matched":
                floor = source.floor(length - 1)
                found = measures.by_length(subject, "excess", protocol, length)
                tokens, most, least = (source.context_of(floor + excess) for excess in found.bounds)
                rows.append(
                    {
                        "subject": name,
                        "eval_length": length,
                        "tokens": tokens,
                        "low": least,
                        "high": most,
                    }
                )
    return rows


def mutual_information(material: Material, longest: int) -> list[dict[str, Any]]:
    """INFORMATION of every real text of the study: its training split, at most TOKENS of it."""

    rows, known = [], set()
    for subject in material.subjects.values():
        label = _about(subject)["dataset"]
        if label in known:
            continue
        known.add(label)
        splits = subject.evaluations[0].splits()
        if splits.floors is None and splits.answers is None:
            tokens = splits.train.tokens(0, min(splits.train.n_tokens, TOKENS)).numpy()
            found = information.by_lag(tokens, range(1, longest + 1))
            rows += [
                {"dataset": label, "lag": lag, "nats": nats}
                for lag, nats in enumerate(found, start=1)
            ]
    return rows


def key_tokens(study: Study, material: Material) -> list[dict[str, Any]]:
    """KEY_TOKENS of every seed of every subject that the study names, at every length."""
    from lengthgen.evaluation import key_tokens as measured

    asked, rows = study.key_tokens, []
    if asked is None:
        return rows
    reference = material[asked.reference].evaluations[0].folder
    for name in asked.subjects:
        subject = material[name]
        for evaluation in subject.evaluations:
            for row in measured.table(
                reference, [evaluation.folder], subject.length(asked.length_factor)
            ):
                rows.append(
                    {"subject": name, "seed": evaluation.config["seed"]}
                    | {c: row[c] for c in KEY_TOKENS if c in row}
                )
    return rows


def _about(subject: Subject) -> dict[str, Any]:
    config = subject.evaluations[0].config
    tokens = int(config["steps"]) * int(config["batch_size"]) * subject.train_length
    dataset = config["dataset"].get("label") or config["dataset"]["name"]
    return {
        "subject": subject.name,
        "scheme": config["scheme"]["name"],
        "dataset": dataset,
        "train_length": subject.train_length,
        "tokens": tokens,
    }


def _asked(subject: Subject) -> Iterator[tuple[str, int]]:
    asked = {
        (one["protocol"], int(one["eval_length"]))
        for one in subject.evaluations[0].outcomes
        if one["protocol"] != "position"
    }
    yield from sorted(asked)


def _cell(subject: Subject, measure: str, protocol: str, length: int) -> dict[str, Any]:
    try:
        found = measures.by_length(subject, measure, protocol, length)
    except DataError as error:
        nothing = dict.fromkeys(("value", "low", "high"))
        return nothing | {
            "n_seeds": len(subject.evaluations),
            "n_documents": 0,
            "status": str(error),
        }
    value, low, high = found.bounds
    n_seeds, n_documents = found.counts
    return {
        "value": value,
        "low": low,
        "high": high,
        "n_seeds": n_seeds,
        "n_documents": n_documents,
        "status": "ok",
    }


def _repair(material: Material, arm: str, condition: str) -> Iterator[dict[str, Any]]:
    broken = material[arm]
    for protocol, length in _asked(broken):
        if protocol != "matched" or length <= broken.train_length:
            continue
        change = measures.by_length(broken, "change", protocol, length)
        value, low, _ = change.bounds
        if not low > DELTA:  # nothing is broken there
            continue
        claim = Claim(
            measure="recovered",
            subject=f"{arm}+{condition}",
            length_factor=length / broken.train_length,
            predict="above 0",
        )
        found = measures.measure(material, claim)
        recovered, least, most = found.bounds
        n_seeds, n_documents = found.counts
        yield {
            "arm": arm, "condition": condition, "eval_length": length, "change": value, "recovered": recovered, "low": least, "high": most,
            "n_seeds": n_seeds, "n_documents": n_documents,
        }  # fmt: skip
