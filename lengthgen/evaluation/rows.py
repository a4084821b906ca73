"""Scored windows -> the tidy rows and per-token losses of one evaluation folder.

Files: lengths.csv documents.csv positions.csv (columns in records.py), settings.json, and losses.npz with, for every protocol
and length, `PROTOCOL/LENGTH/losses` (windows, scored positions) float32 nats and `.../document`, `.../start`, `.../first` a window:
row w, column p is the loss of token start[w] + first + p + 1 of document[w]. Where the data have exact floors (floors.py): rows of the
metrics floor and excess, `.../floors` in losses.npz, and excess_by_position.csv with the columns of positions.csv. Where they have answers
(exact_match.py), every number is of the answers alone; rows of the metrics exact_match and token_accuracy, `.../hits` and `.../answers`.
settings.json holds what was asked for, what became of it, and how much context the scored tokens had (seen.py).

Shape letters: A lengths, D documents, W windows, P scored positions.
"""

import os
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np

from lengthgen import records
from lengthgen.datasets import Splits
from lengthgen.evaluation import exact_match, floors, recall, seen, statistics
from lengthgen.evaluation.protocols import EvaluationConfig, amounts_of, eval_lengths
from lengthgen.evaluation.scoring import Scored
from lengthgen.tokens import TokenStore

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
    aside = folder.with_name(f"{folder.name}.tmp-{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    known: dict[tuple[int, int], np.ndarray] = {}
    block = amounts_of(settings, eval_lengths(settings, train_length), train_length).block
    summed = [_Summed(one, splits, known, block) for one in scored]
    lengths = []
    for protocol in dict.fromkeys(one.request.protocol for one in scored if one.request.protocol != "position"):
        some = [s for s in summed if s.scored.request.protocol == protocol]
        lengths += _length_rows(some, identity, train_length, dtype, resamples, paired=protocol == "matched")
    curves = [s for s in summed if s.scored.request.protocol == "position" and s.usable]
    positions = [row for s in curves for row in _position_rows(s, s.scored.losses, identity, resamples)]
    excess = [row for s in curves if s.floors is not None for row in _position_rows(s, s.excess, identity, resamples)]
    documents = [row for s in summed if s.scored.request.protocol != "position" for row in _document_rows(s, identity)]
    records.write_table(aside / "lengths.csv", lengths, records.LENGTHS)
    records.write_table(aside / "documents.csv", documents, records.DOCUMENTS)
    records.write_table(aside / "positions.csv", positions, records.POSITIONS)
    if excess:
        records.write_table(aside / "excess_by_position.csv", excess, records.POSITIONS)
    records.write_npz(aside / "losses.npz", _arrays(summed))
    if splits.floors and splits.floors.retrieves and (found := recall.of_evaluation(aside, splits.floors.distances)):
        records.write_table(aside / "recall.csv", found, recall.COLUMNS)
    about = {
        "settings": asdict(settings),
        "train_length": train_length,
        "dtype": dtype,
        "unigram_loss": unigram_loss(splits, scored),
        "chance": exact_match.chance(splits, [one.request for one in scored]),
        "validation_documents": seen.histogram(splits.validation.lengths),
        "outcomes": [_outcome(s) for s in summed],
        "origin": origin,
    }
    records.write_json(aside / "settings.json", about)
    aside.rename(folder)
    return lengths


def _outcome(s: "_Summed") -> dict:
    """What became of a request, and how much its tokens were seen with; the loss of every draw where positions were drawn at random."""
    about = {"protocol": s.scored.request.protocol, "eval_length": s.scored.request.eval_length, "status": s.status, "reason": s.reason}
    about |= s.shares
    return about | ({"loss_by_draw": list(s.scored.by_draw)} if s.scored.by_draw and s.answers is None else {})


def summary_lines(rows: list[dict]) -> list[str]:
    """A small table of the matched losses for the end of a run (of the first protocol, where matched was not asked for)."""
    protocol = "matched" if any(row["protocol"] == "matched" for row in rows) else rows[0]["protocol"] if rows else ""
    lines = [f"{protocol}: tokens  loss [nats/token]  95 % interval    perplexity"]
    perplexity = {row["eval_length"]: row["value"] for row in rows if row["protocol"] == protocol and row["metric"] == "perplexity"}
    for row in rows:
        if row["protocol"] != protocol or row["metric"] != "loss":
            continue
        mark = "  <- trained at" if row["eval_length"] == row["train_length"] else ""
        if row["status"] != "ok":
            lines.append(f"{row['eval_length']:>{len(protocol) + 8}}  {row['status']}: {row['reason']}")
            continue
        interval = f"{row['low']:.4f} .. {row['high']:.4f}"
        lines.append(
            f"{row['eval_length']:>{len(protocol) + 8}}  {row['value']:17.4f}  {interval}  {perplexity[row['eval_length']]:10.3f}{mark}"
        )
        if row["reason"]:
            lines.append(f"{'':>{len(protocol) + 8}}  {row['reason']}")
    return lines + _match_lines(rows)


def _match_lines(rows: list[dict]) -> list[str]:
    """The same for exact match, where the rows have it."""
    lines = []
    accuracy = {row["eval_length"]: row["value"] for row in rows if row["metric"] == "token_accuracy"}
    for row in rows:
        if row["metric"] != "exact_match" or row["value"] is None:
            continue
        mark = "  <- trained at" if row["eval_length"] == row["train_length"] else ""
        interval = f"{row['low']:.3f} .. {row['high']:.3f}"
        lines.append(f"{row['eval_length']:>13}  {row['value']:11.3f}  {interval}  {accuracy[row['eval_length']]:14.3f}{mark}")
    return ["whole: tokens  exact match  95 % interval   token accuracy", *lines] if lines else []


def unigram_loss(splits: Splits, scored: list[Scored]) -> float | None:
    """Loss of a table of token frequencies (training split, add one) on the matched targets: what any model must beat. Nats."""
    targets = _matched_targets(splits.validation, scored)
    if targets is None:
        return None
    train, at_once = splits.train, 2**24  # a large corpus is counted a part at a time
    counts = np.ones(splits.vocab_size)
    for first in range(0, train.n_tokens, at_once):
        counts += np.bincount(train.tokens(first, min(first + at_once, train.n_tokens)).numpy(), minlength=splits.vocab_size)
    return float(-np.log(counts / counts.sum())[targets].mean())


def _matched_targets(store: TokenStore, scored: list[Scored]) -> np.ndarray | None:
    some = [s.request for s in scored if s.request.protocol == "matched"]
    if not some:
        return None
    parts = []
    for window in some[0].windows:
        start = int(store.offsets[window.document]) + window.start
        parts.append(store.tokens(start + window.first + 1, start + window.stop + 1).numpy())
    return np.concatenate(parts)


class _Summed:
    """A scored request with its losses, tokens and text bytes added up by document, and its exact floors or hits, if it has any.

    status and reason: those of the scoring, unless the losses lie below their floor. A reason with the status ok is a warning.
    """

    def __init__(self, scored: Scored, splits: Splits, known: dict[tuple[int, int], np.ndarray], block: int):
        self.scored, store = scored, splits.validation
        windows = scored.request.windows
        self.documents, self.index = np.unique([window.document for window in windows], return_inverse=True)
        self.names = [store.names[document] for document in self.documents]
        self.per_window = windows[0].stop - windows[0].first
        self.answers = exact_match.answers_of(scored.request, splits)  # (W, P) bool; None: every target is scored
        where = [None] * len(windows) if self.answers is None else self.answers
        n_bytes = [_bytes(store, window, answers) for window, answers in zip(windows, where, strict=True)]
        self.n_tokens = np.bincount(self.index) * self.per_window
        self.n_bytes = np.bincount(self.index, weights=n_bytes).astype(np.int64)
        self.usable = scored.status == "ok"
        if self.answers is not None:
            self.n_tokens = self._by_document(self.answers).astype(np.int64)
        self.loss_sum = self._by_document(scored.losses if self.answers is None else scored.losses * self.answers) if self.usable else None
        self.floors = floors.of_request(scored.request, splits.floors, known) if self.usable and splits.floors else None
        self.shares = seen.shares(scored.request, store.lengths, block, self.answers)
        self.status, self.reason = scored.status, scored.reason or seen.fault(scored.request, self.shares["full_context"])
        if self.floors is not None:
            self.excess = scored.losses.astype(np.float64) - self.floors
            self.excess_sum = self._by_document(self.excess)
            if reason := floors.leak(self.excess_sum, self.n_tokens):
                self.status, self.reason = floors.LEAK, reason

    def _by_document(self, values: np.ndarray) -> np.ndarray:
        """(W, P) -> (D,)"""
        return np.bincount(self.index, weights=values.sum(axis=1, dtype=np.float64))


def _bytes(store: TokenStore, window, answers: np.ndarray | None) -> int:
    """Bytes of text that the window's targets stand for, or those of them that are answers."""
    start = int(store.offsets[window.document]) + window.start
    sizes = store.token_bytes[store.tokens(start + window.first + 1, start + window.stop + 1).numpy()]
    return int(sizes.sum() if answers is None else sizes[answers].sum())


def _length_rows(some: list[_Summed], identity: dict, train_length: int, dtype: str, resamples: int, paired: bool) -> list[dict]:
    """Rows of one protocol: loss, perplexity, bits a byte, (paired) the change from the training length, and floor and excess if known."""
    rows = []
    usable = [s for s in some if s.usable]
    # By name, as tables.py has them: the same draws of documents then serve a run's interval and the summary over seeds.
    names = sorted({name for s in usable for name in s.names})
    loss_sum, n_tokens = np.zeros((2, len(usable), len(names)))
    for row, s in enumerate(usable):
        place = np.searchsorted(names, s.names)
        loss_sum[row, place], n_tokens[row, place] = s.loss_sum, s.n_tokens
    drawn = statistics.bootstrap(loss_sum, n_tokens, n_resamples=resamples) if usable else None
    at_train = next((i for i, s in enumerate(usable) if s.scored.request.eval_length == train_length), None)
    change = drawn.change(at_train) if paired and at_train is not None else None
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
            loss = (drawn.value[i], *(bound[i] for bound in drawn.bounds()))
            per_byte = s.n_tokens.sum() / s.n_bytes.sum() / LN2
            values |= {"loss": loss, "perplexity": tuple(np.exp(loss)), "bits_per_byte": tuple(x * per_byte for x in loss)}
            if change is not None:
                values["loss_change"] = (change.value[i], *(bound[i] for bound in change.bounds()))
            if s.floors is not None:
                found = statistics.bootstrap(
                    np.stack([s.loss_sum - s.excess_sum, s.excess_sum]), np.stack([s.n_tokens] * 2), n_resamples=resamples
                )
                values |= {m: (found.value[j], *(bound[j] for bound in found.bounds())) for j, m in enumerate(("floor", "excess"))}
            if s.answers is not None:
                values |= _matched_answers(s, resamples)
        rows += [base | {"metric": m, "value": v[0], "low": v[1], "high": v[2]} for m, v in values.items()]
    return rows


def _matched_answers(s: _Summed, resamples: int) -> dict[str, tuple]:
    """Exact match and token accuracy, each with its interval over documents."""
    hits = s.scored.hits
    whole = exact_match.matches(hits, s.answers)
    hit_sum = np.bincount(s.index, weights=(hits & s.answers).mean(axis=0).sum(axis=1))
    accuracy = statistics.bootstrap(hit_sum, s.n_tokens, n_resamples=resamples)
    return {
        "exact_match": (float(whole.mean()), *exact_match.wilson(whole.sum(), len(whole))),
        "token_accuracy": (accuracy.value[0], *(bound[0] for bound in accuracy.bounds())),
    }


def _document_rows(s: _Summed, identity: dict) -> list[dict]:
    if not s.usable:
        return []
    base = identity | {"eval_length": s.scored.request.eval_length, "protocol": s.scored.request.protocol}
    floor_sum = [None] * len(s.names) if s.floors is None else s.loss_sum - s.excess_sum
    return [
        base | {"document": name, "loss_sum": loss, "n_tokens": int(tokens), "n_bytes": int(size), "floor_sum": floor}
        for name, loss, tokens, size, floor in zip(s.names, s.loss_sum, s.n_tokens, s.n_bytes, floor_sum, strict=True)
    ]


def _position_rows(s: _Summed, values: np.ndarray, identity: dict, resamples: int) -> list[dict]:
    """Mean of the values (W, P), losses or excesses, in bins of positions, with intervals over documents."""
    length = s.scored.request.eval_length
    edges = np.unique(np.linspace(0, length, min(BINS, length) + 1).round().astype(int))
    by_document = np.zeros((len(s.documents), length))
    np.add.at(by_document, s.index, values.astype(np.float64))
    windows = np.bincount(s.index)
    sums = np.add.reduceat(by_document, edges[:-1], axis=1).T  # (bins, D)
    tokens = np.diff(edges)[:, None] * windows[None, :]
    drawn = statistics.bootstrap(sums, tokens, n_resamples=resamples)
    low, high = drawn.bounds()
    return [
        identity | {
            "eval_length": length, "position": int(edges[i]), "position_end": int(edges[i + 1]), "value": drawn.value[i],
            "low": low[i], "high": high[i], "n_tokens": int(tokens[i].sum()), "n_documents": len(s.documents),
        }
        for i in range(len(edges) - 1)
    ]  # fmt: skip


def _arrays(summed: list[_Summed]) -> dict[str, np.ndarray]:
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
            arrays[f"{key}/{name}"] = np.array([getattr(window, name) for window in one.request.windows], dtype=np.int32)
    return arrays
