"""Scored windows -> the tidy rows and per-token losses of one evaluation folder.

Files: lengths.csv, documents.csv, positions.csv (columns in records.py), settings.json (settings,
outcome and context of every request), and losses.npz with, for every protocol and length,
`PROTOCOL/LENGTH/losses` (windows, scored positions) float32 nats and `.../document`, `.../start`,
`.../first` of each window: row w, column p is the loss of token start[w] + first[w] + p + 1 of
document[w].

Where the data have exact floors (floors.py): rows of the metrics floor and excess, `.../floors` in
losses.npz, and excess_by_position.csv with the columns of positions.csv. Where they have answers
(exact_match.py), every number is of the answers alone; rows of the metrics exact_match and
token_accuracy, `.../hits` and `.../answers` in losses.npz.

Shape letters: D documents, W windows, P scored positions.
"""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lengthgen import files
from lengthgen.data.splits import Splits
from lengthgen.evaluation import context_of_targets, exact_match, recall, records, unigram
from lengthgen.evaluation.protocols import EvaluationConfig, amounts_of, eval_lengths
from lengthgen.evaluation.scoring import Scored
from lengthgen.evaluation.summed import Excess, Summed, Usable
from lengthgen.statistics import bootstrap
from lengthgen.statistics.losses import Losses, Means

LN2 = float(np.log(2.0))
BINS = 64  # of the loss-by-position curve, at most

Row = dict[str, Any]
Ends = tuple[float, float, float]  # value, low, high


def write(
    folder: Path,
    scored: list[Scored],
    splits: Splits,
    identity: Row,
    *,
    train_length: int,
    dtype: str,
    settings: EvaluationConfig,
    origin: dict,
) -> list[Row]:
    """Write an evaluation folder (it appears whole or not at all). Returns the rows of lengths.csv.

    identity: columns of every row. origin: command, commit and device, for settings.json.
    """
    resamples = settings.resamples
    known: dict[tuple[int, int], np.ndarray] = {}
    block = amounts_of(settings, eval_lengths(settings, train_length), train_length).block
    summed = [Summed(one, splits, known, block) for one in scored]
    curves = [s for s in summed if s.request.protocol == "position"]
    tables = [s for s in summed if s.request.protocol != "position"]
    lengths = []
    for protocol in dict.fromkeys(s.request.protocol for s in tables):
        lengths += _length_rows(
            [s for s in tables if s.request.protocol == protocol],
            identity | {"dtype": dtype},
            resamples,
            change_from=train_length if protocol == "matched" else None,
        )
    documents = [row for s in tables if s.usable for row in _document_rows(s, s.usable, identity)]
    positions: list[Row] = []
    excess: list[Row] = []
    for s in curves:
        if s.usable:
            positions += _position_rows(s, s.usable.losses, identity, resamples)
        if s.usable and s.usable.excess:
            excess += _position_rows(s, s.usable.excess.values, identity, resamples)
    with files.replacing_folder(folder) as aside:
        files.write_table(aside / "lengths.csv", lengths, records.LENGTHS)
        files.write_table(aside / "documents.csv", documents, records.DOCUMENTS)
        files.write_table(aside / "positions.csv", positions, records.POSITIONS)
        if excess:
            files.write_table(aside / "excess_by_position.csv", excess, records.POSITIONS)
        files.write_npz(aside / "losses.npz", _arrays(summed))
        exact = splits.floors
        if (
            exact
            and exact.retrieves
            and (by_distance := recall.of_evaluation(aside, exact.distances))
        ):
            files.write_table(aside / "recall.csv", by_distance, recall.COLUMNS)
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


def _outcome(s: Summed) -> Row:
    """What became of a request, and how much context its tokens had."""
    outcome = _which(s) | {"status": s.status, "reason": s.reason} | s.shares
    if s.scored.by_draw and s.answers is None:  # positions were drawn at random
        outcome["loss_by_draw"] = list(s.scored.by_draw)
    return outcome


def _which(s: Summed) -> Row:
    return {"protocol": s.request.protocol, "eval_length": s.request.eval_length}


def _length_rows(
    of_protocol: list[Summed], identity: Row, resamples: int, change_from: int | None
) -> list[Row]:
    """Rows of one protocol, a metric each. change_from: the length to compare losses with."""
    losses = _table([(s, s.usable) for s in of_protocol if s.usable], identity["seed"])
    means, changes = losses.means(resamples), None
    if change_from in losses.lengths:
        changes = losses.changes(change_from, resamples)
    rows = []
    for s in of_protocol:
        metrics = ["loss", "perplexity", "bits_per_byte"]
        metrics += [] if change_from is None else ["loss_change"]
        metrics += [] if s.answers is None else ["exact_match", "token_accuracy"]
        values: dict[str, tuple] = dict.fromkeys(metrics, (None, None, None))
        if s.usable:
            i = losses.lengths.index(s.request.eval_length)
            ends = _ends(means, i)
            per_byte = s.n_tokens.sum() / s.n_bytes.sum() / LN2
            values |= {
                "loss": ends,
                "perplexity": tuple(np.exp(ends)),
                "bits_per_byte": tuple(x * per_byte for x in ends),
            }
            if changes is not None:
                values["loss_change"] = _ends(changes, i)
            if s.usable.excess:
                values |= _floor_and_excess(s, s.usable.loss_sum, s.usable.excess, resamples)
            if s.answers is not None and s.scored.hits is not None:
                values |= _matched_answers(s.index, s.scored.hits, s.answers, s.n_tokens, resamples)
        base = identity | _which(s)
        base |= {"n_tokens": int(s.n_tokens.sum()), "n_documents": len(s.documents)}
        base |= {"status": s.status, "reason": s.reason}
        rows += [
            base | {"metric": metric, "value": value, "low": low, "high": high}
            for metric, (value, low, high) in values.items()
        ]
    return rows


def _table(usable: list[tuple[Summed, Usable]], seed: int) -> Losses:
    """Documents by name, as a summary over seeds has them: one draw then serves both."""
    names = sorted({name for s, _ in usable for name in s.names})
    loss_sum, n_tokens = np.zeros((2, 1, len(usable), len(names)))
    for column, (s, sums) in enumerate(usable):
        place = np.searchsorted(names, s.names)
        loss_sum[0, column, place], n_tokens[0, column, place] = sums.loss_sum, s.n_tokens
    lengths = tuple(s.request.eval_length for s, _ in usable)
    return Losses(loss_sum, n_tokens, (seed,), lengths, tuple(names))


def _ends(means: Means, i: int) -> Ends:
    return means.value[i], means.low[i], means.high[i]


def _floor_and_excess(
    s: Summed, loss_sum: np.ndarray, excess: Excess, resamples: int
) -> dict[str, Ends]:
    sums = np.stack([loss_sum - excess.sums, excess.sums])
    drawn = bootstrap.bootstrap(sums, np.stack([s.n_tokens] * 2), n_resamples=resamples)
    ends = zip(drawn.value, *drawn.bounds(), strict=True)
    return dict(zip(("floor", "excess"), ends, strict=True))


def _matched_answers(
    index: np.ndarray, hits: np.ndarray, answers: np.ndarray, n_tokens: np.ndarray, resamples: int
) -> dict[str, Ends]:
    """Exact match and token accuracy, each with its interval over documents."""
    whole = exact_match.matches(hits, answers)
    hit_sum = np.bincount(index, weights=(hits & answers).mean(axis=0).sum(axis=1))
    accuracy = bootstrap.bootstrap(hit_sum, n_tokens, n_resamples=resamples)
    low, high = accuracy.bounds()
    return {
        "exact_match": (float(whole.mean()), *exact_match.wilson(whole.sum(), len(whole))),
        "token_accuracy": (accuracy.value[0], low[0], high[0]),
    }


def _document_rows(s: Summed, sums: Usable, identity: Row) -> Iterator[Row]:
    floor_sum = sums.loss_sum - sums.excess.sums if sums.excess else [None] * len(s.names)
    about = identity | _which(s)
    for i, name in enumerate(s.names):
        yield about | {
            "document": name,
            "loss_sum": sums.loss_sum[i],
            "n_tokens": int(s.n_tokens[i]),
            "n_bytes": int(s.n_bytes[i]),
            "floor_sum": floor_sum[i],
        }


def _position_rows(s: Summed, values: np.ndarray, identity: Row, resamples: int) -> Iterator[Row]:
    """Means of the values (W, P) in bins of positions, with intervals over documents."""
    length = s.request.eval_length
    edges = np.unique(np.linspace(0, length, min(BINS, length) + 1).round().astype(int))
    by_document = np.zeros((len(s.documents), length))
    np.add.at(by_document, s.index, values.astype(np.float64))
    sums = np.add.reduceat(by_document, edges[:-1], axis=1).T  # (bins, D)
    tokens = np.diff(edges)[:, None] * np.bincount(s.index)[None, :]
    drawn = bootstrap.bootstrap(sums, tokens, n_resamples=resamples)
    low, high = drawn.bounds()
    for i, (first, end) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
        yield identity | {
            "eval_length": length,
            "position": first,
            "position_end": end,
            "value": drawn.value[i],
            "low": low[i],
            "high": high[i],
            "n_tokens": int(tokens[i].sum()),
            "n_documents": len(s.documents),
        }


def _arrays(summed: list[Summed]) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for s in summed:
        if s.scored.losses is None:
            continue
        named = {"losses": s.scored.losses}
        if s.usable and s.usable.excess:
            named["floors"] = s.usable.excess.floors
        if s.answers is not None and s.scored.hits is not None:
            named |= {"hits": s.scored.hits, "answers": s.answers}
        for name in ("document", "start", "first"):
            windows = [getattr(window, name) for window in s.request.windows]
            named[name] = np.array(windows, dtype=np.int32)
        key = f"{s.request.protocol}/{s.request.eval_length}"
        arrays |= {f"{key}/{name}": values for name, values in named.items()}
    return arrays
