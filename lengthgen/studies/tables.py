"""The rows of a study's tables (study_folder.py). Nats a token, with 95 % intervals."""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lengthgen.data.sources import dirichlet
from lengthgen.errors import DataError
from lengthgen.statistics import information
from lengthgen.statistics.paired import Paired
from lengthgen.statistics.thresholds import DELTA
from lengthgen.studies import measures, words_table
from lengthgen.studies.claims import Claim, Verdict
from lengthgen.studies.declaration import Study
from lengthgen.studies.losses import EvaluatedArm, Material
from lengthgen.studies.parts import Point
from lengthgen.studies.study_folder import AT_RATES, DECLARED, KEY_TOKENS, NUMBERS, REPAIRS

TOKENS = 2**21  # of a text whose mutual information is measured

Row = dict[str, Any]


def values(
    study: Study,
    material: Material,
    points: Mapping[str, Point] | None = None,
    rates: str = "own best",
) -> list[Row]:
    """VALUES of every subject. points: of a grid, by arm, and `rates` what they are; None: none."""
    rows = []
    shown = ("loss", study.show, *(figure.show for figure in study.figures))
    for name in study.subjects():
        subject = material[name]
        about = _about(subject) | _trained_on(study, subject)
        if points is not None:
            about |= {"rates": rates, "point": " ".join(points[name.partition("+")[0]])}
        for protocol, length in _evaluated(subject):
            for measure in dict.fromkeys(one for one in shown if one in measures.BY_LENGTH):
                key = {"protocol": protocol, "eval_length": length, "measure": measure}
                rows.append(about | key | _cell(subject, measure, protocol, length))
            for measure, paired in _noted(subject, protocol, length).items():
                key = {"protocol": protocol, "eval_length": length, "measure": measure}
                found = {"value": float(paired.value[0]), "status": "ok"}
                counts = len(subject.evaluations), int((paired.n_tokens > 0).sum())
                found |= dict(zip(("n_seeds", "n_documents"), counts, strict=True))
                rows.append(about | key | found)
    return rows


def training(study: Study, material: Material) -> list[Row]:
    """TRAINING of every seed of every arm."""
    return [
        {
            "arm": arm,
            "seed": one.seed,
            "steps": one.steps,
            "tokens": one.steps * int(one.config["batch_size"]) * one.train_length,
            "settled": one.training.get("settled"),
            "last_doubling": one.training.get("last_doubling"),
        }
        for arm in study.arms
        for one in material[arm].evaluations
    ]


def words(study: Study, material: Material) -> list[Row]:
    """WORDS of every subject."""
    return [
        _about(subject) | _trained_on(study, subject) | row
        for row in words_table.rows(material)
        for subject in [material[row["subject"]]]
    ]


def repairs(study: Study, material: Material) -> list[Row]:
    """REPAIRS of every arm, at the lengths beyond training where it loses more than DELTA.

    The weights of an earlier step repair nothing: they are no condition of the trained model.
    """
    return [
        row
        for arm in study.arms
        for condition, overrides in study.conditions_of(arm).items()
        if _step(overrides) is None
        for row in _repair(material, arm, condition)
    ]


def claims(study: Study, verdicts: list[Verdict]) -> list[Row]:
    """CLAIMS."""
    rows = []
    for verdict in verdicts:
        row: Row = {"study": study.name, "name": verdict.name, "verdict": verdict.word}
        row |= {column: getattr(verdict.claim, column) for column in DECLARED}
        row |= {column: getattr(verdict, column) for column in (*NUMBERS, "reason")}
        if verdict.at_common:
            common = verdict.at_common
            found = [verdict.own_word, common.word, common.value, common.low, common.high]
            row |= dict(zip(AT_RATES, found, strict=True))
        rows.append(row)
    return rows


def effective_context(material: Material) -> list[Row]:
    """CONTEXT of every subject on Dirichlet documents: the symbols that the best predictor needs.

    f^-1(f(L') + excess), f the mean floor by symbols seen (sources/dirichlet.py). The excess takes
    off the luck of the documents drawn.
    """
    rows = []
    for name, subject in material.subjects.items():
        config = subject.evaluations[0].config["dataset"]
        if config["name"] != "dirichlet":
            continue
        source = dirichlet.Dirichlet(config["n_symbols"], config["beta"])
        for protocol, length in _evaluated(subject):
            if protocol != "matched":
                continue
            floor = source.floor(length - 1)
            excess = measures.by_length(subject, "excess", protocol, length).bounds
            tokens, most, least = (source.context_of(floor + each) for each in excess)
            context = {"tokens": tokens, "low": least, "high": most}
            rows.append({"subject": name, "eval_length": length} | context)
    return rows


def mutual_information(material: Material, longest: int) -> list[Row]:
    """INFORMATION of every real text of the study: its training split, at most TOKENS of it."""
    rows: list[Row] = []
    known = set()
    for subject in material.subjects.values():
        label = _about(subject)["dataset"]
        if label in known:
            continue
        known.add(label)
        splits = subject.evaluations[0].splits()
        if splits.floors is None and splits.answers is None:
            tokens = splits.train.tokens(0, min(splits.train.n_tokens, TOKENS)).numpy()
            by_lag = enumerate(information.by_lag(tokens, range(1, longest + 1)), start=1)
            rows += [{"dataset": label, "lag": lag, "nats": nats} for lag, nats in by_lag]
    return rows


def key_tokens(study: Study, material: Material) -> list[Row]:
    """KEY_TOKENS of every seed of every subject that the study names, at every length."""
    from lengthgen.evaluation import key_tokens as measured

    options, rows = study.key_tokens, []
    if options is None:
        return []
    reference = material[options.reference].evaluations[0].folder
    for name in options.subjects:
        length = material[name].length(options.length_factor)
        for evaluation in material[name].evaluations:
            key = {"subject": name, "seed": evaluation.seed}
            for row in measured.table(reference, [evaluation.folder], length):
                rows.append(key | {column: row[column] for column in KEY_TOKENS if column in row})
    return rows


def _trained_on(study: Study, subject: EvaluatedArm) -> Row:
    """How many tokens it was trained on: to the step of a condition at_step, or to its end; and of
    how many tokens the corpus is, where that was asked for.
    """
    condition = study.conditions.get(subject.name.partition("+")[2])
    first = subject.evaluations[0]
    steps = (_step(condition.overrides) if condition else None) or first.steps
    tokens = steps * int(first.config["batch_size"]) * subject.train_length
    return {"tokens": tokens, "corpus": first.config["dataset"].get("train_tokens") or math.nan}


def _step(overrides: Sequence[str]) -> int | None:
    """The step whose weights a condition evaluates; None: those of the end."""
    at = [one for one in overrides if one.startswith("at_step=")]
    return int(at[-1].partition("=")[2]) if at else None


def _about(subject: EvaluatedArm) -> Row:
    first = subject.evaluations[0]
    return {
        "subject": subject.name,
        "scheme": first.scheme,
        "dataset": first.dataset,
        "train_length": subject.train_length,
    }


def _evaluated(subject: EvaluatedArm) -> list[tuple[str, int]]:
    """Protocols and lengths, but for the curve by position."""
    outcomes = subject.evaluations[0].outcomes
    keys = {(outcome["protocol"], int(outcome["eval_length"])) for outcome in outcomes}
    return sorted(key for key in keys if key[0] != "position")


def _cell(subject: EvaluatedArm, measure: str, protocol: str, length: int) -> Row:
    columns = ("value", "low", "high", "n_seeds", "n_documents", "status")
    cells: tuple
    try:
        mean = measures.by_length(subject, measure, protocol, length)
        cells = *mean.bounds, *mean.counts, "ok"
    except DataError as error:
        cells = None, None, None, len(subject.evaluations), 0, str(error)
    return dict(zip(columns, cells, strict=True))


def _noted(subject: EvaluatedArm, protocol: str, length: int) -> dict[str, Paired]:
    """The exact floor, and the loss of a bigram table of the training text, where they are known.

    On the same targets; nothing for an arm under a condition, which has those of the arm.
    """
    found: dict[str, Paired] = {}
    if "+" in subject.name:
        return found
    makers = {
        "floor": lambda: subject.total(protocol, length, lambda one: one.losses - one.excess),
        "bigram": lambda: subject.bigram(protocol, length),
    }
    for name, make in makers.items():
        with contextlib.suppress(DataError):
            found[name] = make()
    return found


def _repair(material: Material, arm: str, condition: str) -> Iterator[Row]:
    broken = material[arm]
    for protocol, length in _evaluated(broken):
        if protocol != "matched" or length <= broken.train_length:
            continue
        change, low, _ = measures.by_length(broken, "change", protocol, length).bounds
        if not low > DELTA:  # nothing is broken there
            continue
        claim = Claim(
            measure="recovered",
            subject=f"{arm}+{condition}",
            length_factor=length / broken.train_length,
            predict="above 0",
        )
        share = measures.measure(material, claim)
        cells = arm, condition, length, change, *share.bounds, *share.counts
        yield dict(zip(REPAIRS, cells, strict=True))
