"""Scored windows -> the tidy rows and per-token losses of one evaluation folder.

Files: lengths.csv, documents.csv, positions.csv (columns in records.py), settings.json (settings,
outcome and context of every request), manifest.json (seals.py), and losses.npz with, for every
protocol and length, `PROTOCOL/LENGTH/losses` (windows, scored positions) float32 nats and
`.../document`, `.../start`, `.../first` of each window: row w, column p is the loss of token
start[w] + first[w] + p + 1 of document[w]. `.../bigram`, of matched and whole, is the loss of a
bigram table on it (bigram.py).

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
from lengthgen.evaluation import (
    bigram,
    context_of_targets,
    exact_match,
    length_rows,
    recall,
    records,
    seals,
)
from lengthgen.evaluation.protocols import EvaluationConfig, amounts_of, eval_lengths
from lengthgen.evaluation.scoring import Scored
from lengthgen.evaluation.summed import Summed, Usable
from lengthgen.statistics import bootstrap

BINS = 64  # of the loss-by-position curve, at most

Row = dict[str, Any]


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
    """Write an evaluation folder (it appears whole or not at all).

    Returns the rows of lengths.csv, each with `word` besides: the run's own word at its length and
    protocol (statistics/words.py), empty where there is none.

    identity: columns of every row. origin: command, commit and device, for settings.json.
    """
    resamples = settings.resamples
    known: dict[tuple[int, int], np.ndarray] = {}
    block = amounts_of(settings, eval_lengths(settings, train_length), train_length).block
    summed = [Summed(one, splits, known, block) for one in scored]
    curves = [s for s in summed if s.request.protocol == "position"]
    tables = [s for s in summed if s.request.protocol != "position"]
    table = _bigram_table(splits, tables)
    lengths = length_rows.rows(tables, table, identity | {"dtype": dtype}, settings.documents)
    words = length_rows.words_of(tables, table, identity)
    documents = [
        row for s in tables if s.usable for row in _document_rows(s, s.usable, table, identity)
    ]
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
        files.write_npz(aside / "losses.npz", _arrays(summed, table))
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
            "bigram_loss": _bigram_loss(tables, table),
            "words": words,
            "chance": exact_match.chance(splits, [one.request for one in scored]),
            "validation_documents": context_of_targets.histogram(splits.validation.lengths),
            "outcomes": [_outcome(s) for s in summed],
            "origin": origin,
        }
        files.write_json(aside / "settings.json", about)
        seals.seal(aside, records.evaluation_seal(identity["run"], folder.name))
    return [
        row
        | {"word": words.get(str(row["eval_length"]), "") if row["protocol"] == "matched" else ""}
        for row in lengths
    ]


def _bigram_table(splits: Splits, tables: list[Summed]) -> bigram.Table:
    """The floor of competence. Its one number is chosen on the matched targets, or the first."""
    chosen = [s for s in tables if s.request.protocol == "matched"] or tables
    return bigram.table(splits, [s.pairs for s in tables], chosen[0].counted_pairs)


def _bigram_loss(tables: list[Summed], table: bigram.Table) -> float | None:
    """Nats a token on the matched targets."""
    matched = [s for s in tables if s.request.protocol == "matched"]
    return float(table.losses(matched[0].counted_pairs).mean()) if matched else None


def _outcome(s: Summed) -> Row:
    """What became of a request, and how much context its tokens had."""
    outcome = s.which | {"status": s.status, "reason": s.reason} | s.shares
    if s.scored.by_draw and s.answers is None:  # positions were drawn at random
        outcome["loss_by_draw"] = list(s.scored.by_draw)
    return outcome


def _document_rows(s: Summed, sums: Usable, table: bigram.Table, identity: Row) -> Iterator[Row]:
    bigram_sum = s.bigram_sum(table)
    floor_sum = sums.loss_sum - sums.excess.sums if sums.excess else [None] * len(s.names)
    about = identity | s.which
    for i, name in enumerate(s.names):
        yield about | {
            "document": name,
            "loss_sum": sums.loss_sum[i],
            "n_tokens": int(s.n_tokens[i]),
            "n_bytes": int(s.n_bytes[i]),
            "floor_sum": floor_sum[i],
            "bigram_sum": bigram_sum[i],
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


def _arrays(summed: list[Summed], table: bigram.Table) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for s in summed:
        if s.scored.losses is None:
            continue
        named = {"losses": s.scored.losses}
        if s.usable and s.usable.excess:
            named["floors"] = s.usable.excess.floors
        if s.request.protocol in ("matched", "whole"):
            named["bigram"] = table.losses(s.pairs).astype(np.float32)
        if s.answers is not None and s.scored.hits is not None:
            named |= {"hits": s.scored.hits, "answers": s.answers}
        for name in ("document", "start", "first"):
            windows = [getattr(window, name) for window in s.request.windows]
            named[name] = np.array(windows, dtype=np.int32)
        key = f"{s.request.protocol}/{s.request.eval_length}"
        arrays |= {f"{key}/{name}": values for name, values in named.items()}
    return arrays
