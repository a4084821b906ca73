"""Scored windows -> the tidy rows and per-token losses of one evaluation folder.

Files: lengths.csv documents.csv positions.csv (columns in records.py), settings.json, and losses.npz with, for every protocol
and length, `PROTOCOL/LENGTH/losses` (windows, scored positions) float32 nats and `.../document`, `.../start`, `.../first` a window:
row w, column p is the loss of token start[w] + first + p + 1 of document[w]. Where the data have exact floors (floors.py): rows of the
metrics floor and excess, `.../floors` in losses.npz, and excess_by_position.csv with the columns of positions.csv. Where they have answers
(exact_match.py), every number is of the answers alone; rows of the metrics exact_match and token_accuracy, `.../hits` and `.../answers`.
settings.json holds what was asked for, what became of it, and how much context the scored tokens had (seen.py).

Shape letters: A lengths, D documents, W windows, P scored positions.
"""

from dataclasses import asdict
from pathlib import Path

import numpy as np

from lengthgen import files
from lengthgen.data.splits import Splits
from lengthgen.evaluation import context_of_targets, exact_match, recall, records, unigram
from lengthgen.evaluation.protocols import EvaluationConfig, amounts_of, eval_lengths
from lengthgen.evaluation.scoring import Scored
from lengthgen.evaluation.summed import Summed
from lengthgen.statistics import bootstrap
from lengthgen.statistics.losses import Losses, Means

LN2 = float(np.log(2.0))
BINS = 64  # of the loss-by-position curve, at most


def write(
    folder: Path,
    scored: list[Scored],
    splits: Splits,
    identity: dict,
    *,
    train_length: int,
    dtype: str,
    settings: EvaluationConfig,
    origin: dict,
) -> list[dict]:
    """Write an evaluation folder (it appears whole or not at all). Returns the rows of lengths.csv.

    identity: the identity columns of every row; origin: command, commit and device of this evaluation, kept in settings.json.
    """
    resamples = settings.resamples
    known: dict[tuple[int, int], np.ndarray] = {}
    block = amounts_of(settings, eval_lengths(settings, train_length), train_length).block
    summed = [Summed(one, splits, known, block) for one in scored]
    lengths = []
    for protocol in dict.fromkeys(
        one.request.protocol for one in scored if one.request.protocol != "position"
    ):
        some = [s for s in summed if s.scored.request.protocol == protocol]
        lengths += _length_rows(
            some, identity, train_length, dtype, resamples, paired=protocol == "matched"
        )
    curves = [s for s in summed if s.scored.request.protocol == "position" and s.usable]
    positions = [
        row for s in curves for row in _position_rows(s, s.scored.losses, identity, resamples)
    ]
    excess = [
        row
        for s in curves
        if s.floors is not None
        for row in _position_rows(s, s.excess, identity, resamples)
    ]
    documents = [
        row
        for s in summed
        if s.scored.request.protocol != "position"
        for row in _document_rows(s, identity)
    ]
    with files.replacing_folder(folder) as aside:
        files.write_table(aside / "lengths.csv", lengths, records.LENGTHS)
        files.write_table(aside / "documents.csv", documents, records.DOCUMENTS)
        files.write_table(aside / "positions.csv", positions, records.POSITIONS)
        if excess:
            files.write_table(aside / "excess_by_position.csv", excess, records.POSITIONS)
        files.write_npz(aside / "losses.npz", _arrays(summed))
        if (
            splits.floors
            and splits.floors.retrieves
            and (found := recall.of_evaluation(aside, splits.floors.distances))
        ):
            files.write_table(aside / "recall.csv", found, recall.COLUMNS)
        about = {
            "settings": asdict(settings),
            "train_length": train_length,
            "dtype": dtype,
            "unigram_loss": unigram.loss(splits, scored),
            "chance": exact_match.chance(splits, [one.request for one in scored]),
            "validation_documents": context_of_targets.histogram(splits.validation.lengths),
            "outcomes": [_outcome(s) for s in summed],
            "origin": origin,
        }
        files.write_json(aside / "settings.json", about)
    return lengths


def _outcome(s: Summed) -> dict:
    """What became of a request, and how much its tokens were seen with; the loss of every draw where positions were drawn at random."""
    about = {
        "protocol": s.scored.request.protocol,
        "eval_length": s.scored.request.eval_length,
        "status": s.status,
        "reason": s.reason,
    }
    about |= s.shares
    return about | (
        {"loss_by_draw": list(s.scored.by_draw)} if s.scored.by_draw and s.answers is None else {}
    )


def _length_rows(
    some: list[Summed], identity: dict, train_length: int, dtype: str, resamples: int, paired: bool
) -> list[dict]:
    """Rows of one protocol: loss, perplexity, bits a byte, (paired) the change from the training length, and floor and excess if known."""
    rows = []
    usable = [s for s in some if s.usable]
    losses = _losses(usable, identity["seed"])
    loss = losses.means(resamples)
    change = None
    if paired and train_length in losses.lengths:
        change = losses.changes(train_length, resamples)
    for s in some:
        request = s.scored.request
        base = identity | {
            "eval_length": request.eval_length, "protocol": request.protocol, "n_tokens": int(s.n_tokens.sum()),
            "n_documents": len(s.documents), "dtype": dtype, "status": s.status, "reason": s.reason,
        }  # fmt: skip
        metrics = ["loss", "perplexity", "bits_per_byte"] + (["loss_change"] if paired else [])
        metrics += [] if s.answers is None else ["exact_match", "token_accuracy"]
        values: dict[str, tuple] = dict.fromkeys(metrics, (None, None, None))
        if s.usable:
            i = usable.index(s)
            ends = _ends(loss, i)
            per_byte = s.n_tokens.sum() / s.n_bytes.sum() / LN2
            values |= {
                "loss": ends,
                "perplexity": tuple(np.exp(ends)),
                "bits_per_byte": tuple(x * per_byte for x in ends),
            }
            if change is not None:
                values["loss_change"] = _ends(change, i)
            if s.floors is not None:
                found = bootstrap.bootstrap(
                    np.stack([s.loss_sum - s.excess_sum, s.excess_sum]),
                    np.stack([s.n_tokens] * 2),
                    n_resamples=resamples,
                )
                values |= {
                    m: (found.value[j], *(bound[j] for bound in found.bounds()))
                    for j, m in enumerate(("floor", "excess"))
                }
            if s.answers is not None:
                values |= _matched_answers(s, resamples)
        rows += [
            base | {"metric": m, "value": v[0], "low": v[1], "high": v[2]}
            for m, v in values.items()
        ]
    return rows


def _losses(usable: list[Summed], seed: int) -> Losses:
    """Documents by name, as a summary over seeds has them: one draw then serves both."""
    names = sorted({name for s in usable for name in s.names})
    loss_sum, n_tokens = np.zeros((2, 1, len(usable), len(names)))
    for column, s in enumerate(usable):
        place = np.searchsorted(names, s.names)
        loss_sum[0, column, place], n_tokens[0, column, place] = s.loss_sum, s.n_tokens
    lengths = tuple(s.scored.request.eval_length for s in usable)
    return Losses(loss_sum, n_tokens, (seed,), lengths, tuple(names))


def _ends(means: Means, i: int) -> tuple[float, float, float]:
    return means.value[i], means.low[i], means.high[i]


def _matched_answers(s: Summed, resamples: int) -> dict[str, tuple]:
    """Exact match and token accuracy, each with its interval over documents."""
    hits = s.scored.hits
    whole = exact_match.matches(hits, s.answers)
    hit_sum = np.bincount(s.index, weights=(hits & s.answers).mean(axis=0).sum(axis=1))
    accuracy = bootstrap.bootstrap(hit_sum, s.n_tokens, n_resamples=resamples)
    return {
        "exact_match": (float(whole.mean()), *exact_match.wilson(whole.sum(), len(whole))),
        "token_accuracy": (accuracy.value[0], *(bound[0] for bound in accuracy.bounds())),
    }


def _document_rows(s: Summed, identity: dict) -> list[dict]:
    if not s.usable:
        return []
    base = identity | {
        "eval_length": s.scored.request.eval_length,
        "protocol": s.scored.request.protocol,
    }
    floor_sum = [None] * len(s.names) if s.floors is None else s.loss_sum - s.excess_sum
    return [
        base
        | {
            "document": name,
            "loss_sum": loss,
            "n_tokens": int(tokens),
            "n_bytes": int(size),
            "floor_sum": floor,
        }
        for name, loss, tokens, size, floor in zip(
            s.names, s.loss_sum, s.n_tokens, s.n_bytes, floor_sum, strict=True
        )
    ]


def _position_rows(s: Summed, values: np.ndarray, identity: dict, resamples: int) -> list[dict]:
    """Mean of the values (W, P), losses or excesses, in bins of positions, with intervals over documents."""
    length = s.scored.request.eval_length
    edges = np.unique(np.linspace(0, length, min(BINS, length) + 1).round().astype(int))
    by_document = np.zeros((len(s.documents), length))
    np.add.at(by_document, s.index, values.astype(np.float64))
    windows = np.bincount(s.index)
    sums = np.add.reduceat(by_document, edges[:-1], axis=1).T  # (bins, D)
    tokens = np.diff(edges)[:, None] * windows[None, :]
    drawn = bootstrap.bootstrap(sums, tokens, n_resamples=resamples)
    low, high = drawn.bounds()
    return [
        identity | {
            "eval_length": length, "position": int(edges[i]), "position_end": int(edges[i + 1]), "value": drawn.value[i],
            "low": low[i], "high": high[i], "n_tokens": int(tokens[i].sum()), "n_documents": len(s.documents),
        }
        for i in range(len(edges) - 1)
    ]  # fmt: skip


def _arrays(summed: list[Summed]) -> dict[str, np.ndarray]:
    arrays = {}
    for s in summed:
        one = s.scored
        if one.losses is None:
            continue
        key = f"{one.request.protocol}/{one.request.eval_length}"
        arrays[f"{key}/losses"] = one.losses
        if s.floors is not None:
            arrays[f"{key}/floors"] = s.floors
        if s.answers is not None:
            arrays |= {f"{key}/hits": one.hits, f"{key}/answers": s.answers}
        for name in ("document", "start", "first"):
            arrays[f"{key}/{name}"] = np.array(
                [getattr(window, name) for window in one.request.windows], dtype=np.int32
            )
    return arrays
