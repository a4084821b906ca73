"""The rows of lengths.csv: a metric at each length, with its interval over documents.

And the word for this run alone at each length (statistics/words.py).

Shape letters: D documents, W windows, P scored positions.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lengthgen.evaluation import bigram, exact_match, shuffled
from lengthgen.evaluation.summed import Excess, Summed, Usable
from lengthgen.statistics import comparisons, words
from lengthgen.statistics.losses import Losses, Means
from lengthgen.statistics.paired import Paired

LN2 = float(np.log(2.0))

Row = dict[str, Any]
Ends = tuple[float, float, float]  # value, low, high


def rows(tables: Sequence[Summed], table: bigram.Table, identity: Row, asked: int) -> list[Row]:
    """The rows of every protocol. identity: columns of every row, dtype included.

    asked: evaluation.documents; a row of fewer says so.
    """
    found = []
    for protocol in dict.fromkeys(s.request.protocol for s in tables):
        of_protocol = [s for s in tables if s.request.protocol == protocol]
        change_from = identity["train_length"] if protocol == "matched" else None
        found += _length_rows(of_protocol, table, identity, change_from, asked)
    return found


def words_of(tables: Sequence[Summed], table: bigram.Table, identity: Row) -> dict[str, str]:
    """Evaluation length, as text -> the run's own word, for lengths beyond the training length."""
    train_length = identity["train_length"]
    of_protocol = {
        protocol: _losses(
            [(s, s.usable) for s in tables if s.usable and s.request.protocol == protocol],
            table,
            identity["seed"],
        )
        for protocol in ("matched", "hard_window", shuffled.PROTOCOL)
    }
    matched, confined, baseline = of_protocol.values()
    if train_length not in matched.lengths:
        return {}
    baselines = {words.SHUFFLED: baseline.at(train_length)} if baseline.lengths else {}
    evidence = words.Evidence(identity["scheme"], train_length, matched, confined, baselines)
    beyond = [length for length in matched.lengths if length > train_length]
    answers = {str(length): evidence.at(length) for length in beyond}
    return {
        length: f"{one.word} ({one.reason})" if one.reason else one.word
        for length, one in answers.items()
    }


def _fewer(s: Summed, asked: int) -> str:
    """What is to be said of a text with fewer documents than were asked for; empty if nothing."""
    if len(s.documents) >= asked:
        return ""
    return (
        f"{len(s.documents)} documents and not the {asked} of evaluation.documents: "
        "the validation text has no more that are long enough"
    )


def _length_rows(
    of_protocol: list[Summed],
    table: bigram.Table,
    identity: Row,
    change_from: int | None,
    asked: int,
) -> list[Row]:
    """Rows of one protocol, a metric each. change_from: the length to compare losses with."""
    usable = [(s, s.usable) for s in of_protocol if s.usable]
    losses = _losses(usable, table, identity["seed"])
    means, changes = losses.means(), None
    of_table, below = losses.bigram(), losses.below_bigram()
    competence = {
        name: each.means()
        for name, each in (("bigram", of_table), ("below_bigram", below))
        if each is not None
    }
    if change_from in losses.lengths:
        changes = losses.changes(change_from)
    found = []
    for s in of_protocol:
        metrics = ["loss", "perplexity", "bits_per_byte", "bigram", "below_bigram"]
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
            values |= {name: _ends(each, i) for name, each in competence.items()}
            if changes is not None:
                values["loss_change"] = _ends(changes, i)
            if s.usable.excess:
                values |= _floor_and_excess(s, s.usable.loss_sum, s.usable.excess)
            if s.answers is not None and s.scored.hits is not None:
                values |= _matched_answers(s.index, s.scored.hits, s.answers, s.n_tokens)
        base = identity | s.which
        base |= {"n_tokens": int(s.n_tokens.sum()), "n_documents": len(s.documents)}
        base |= {"status": s.status, "reason": s.reason or _fewer(s, asked)}
        found += [
            base | {"metric": metric, "value": value, "low": low, "high": high}
            for metric, (value, low, high) in values.items()
        ]
    return found


def _losses(usable: list[tuple[Summed, Usable]], table: bigram.Table, seed: int) -> Losses:
    """Documents by name, as a summary over seeds has them: one draw then serves both."""
    names = sorted({name for s, _ in usable for name in s.names})
    loss_sum, n_tokens, bigram_sum = np.zeros((3, 1, len(usable), len(names)))
    for column, (s, sums) in enumerate(usable):
        place = np.searchsorted(names, s.names)
        loss_sum[0, column, place], n_tokens[0, column, place] = sums.loss_sum, s.n_tokens
        bigram_sum[0, column, place] = s.bigram_sum(table)
    lengths = tuple(s.request.eval_length for s, _ in usable)
    documents = tuple(names)
    return Losses(loss_sum, n_tokens, (seed,), lengths, documents, bigram_sum=bigram_sum)


def _ends(means: Means, i: int) -> Ends:
    return means.value[i], means.low[i], means.high[i]


def _floor_and_excess(s: Summed, loss_sum: np.ndarray, excess: Excess) -> dict[str, Ends]:
    sums = np.stack([loss_sum - excess.sums, excess.sums])[None]
    tokens = np.stack([s.n_tokens] * 2).astype(np.float64)
    estimate = comparisons.estimate(Paired(sums, tokens))
    ends = zip(estimate.value, estimate.low, estimate.high, strict=True)
    return dict(zip(("floor", "excess"), ends, strict=True))


def _matched_answers(
    index: np.ndarray, hits: np.ndarray, answers: np.ndarray, n_tokens: np.ndarray
) -> dict[str, Ends]:
    """Exact match and token accuracy, each with its interval over documents."""
    whole = exact_match.matches(hits, answers)
    hit_sum = np.bincount(index, weights=(hits & answers).mean(axis=0).sum(axis=1))
    accuracy = comparisons.estimate(Paired(hit_sum[None, None], n_tokens[None].astype(np.float64)))
    low, high = accuracy.low.clip(0.0, 1.0), accuracy.high.clip(0.0, 1.0)
    return {
        "exact_match": (float(whole.mean()), *exact_match.wilson(whole.sum(), len(whole))),
        "token_accuracy": (accuracy.value[0], low[0], high[0]),
    }
