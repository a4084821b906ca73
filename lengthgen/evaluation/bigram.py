"""The floor of competence: a table that knows the token before the target and nothing else.

A model whose loss is not surely below this table's has learned less than the table holds: that its
loss does not rise with longer input says nothing of its scheme. The table's loss is known for every
scored token, so that the comparison is paired by document (and seed).

    p(b | a) = (n(a, b) + m p(b)) / (n(a) + m),    p(b) = (n(b) + 1) / (N + V)

n: counts of the training split, of pairs within a document (of answers alone where the data have
answers, as the model is trained on them alone); N: all of them; V: vocabulary. A token that never
stood in the training text, as target or before it, is thus no special case. m, the weight of the
unigram table, is the one of WEIGHTS with the least loss on the scored tokens themselves: where the
choice errs, it errs in favour of the table and against the model. Source: MacKay and Peto 1995
(Natural Language Engineering 1), with one m for all tokens.

A target's predecessor always lies in its window: the first position predicts the second token.

Shape letters: W windows, P scored positions, V tokens of the vocabulary, K pairs. Nats.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lengthgen.data.splits import Splits
from lengthgen.data.tokens import TokenStore
from lengthgen.evaluation import context_of_targets
from lengthgen.evaluation.planners import Request

WEIGHTS = tuple(4.0**power for power in range(9))  # of m: 1 to 65,536 tokens
AT_ONCE = 2**22  # tokens: a large corpus is counted a part at a time
DENSE = 2**22  # pairs that may be counted in one array: vocabularies up to 2,048


@dataclass(frozen=True)
class Table:
    """Counts of the pairs that are needed. m: the weight of the unigram table.

    keys: (K,) int64, a V + b of each pair, rising; pairs: (K,), n(a, b); before: (V,), n(a);
    unigram: (V,), p(b).
    """

    keys: np.ndarray
    pairs: np.ndarray
    before: np.ndarray
    unigram: np.ndarray
    m: float = WEIGHTS[0]

    def losses(self, pairs: np.ndarray) -> np.ndarray:
        """Pairs a V + b of any shape, all of them counted -> -ln p(b | a) of each."""
        a, b = np.divmod(pairs, len(self.unigram))
        seen = self.pairs[np.searchsorted(self.keys, pairs)]
        return -np.log((seen + self.m * self.unigram[b]) / (self.before[a] + self.m))


def pairs_of(store: TokenStore, request: Request) -> np.ndarray:
    """(W, P) int64: a V + b of each scored target b and the token a before it."""
    rows = []
    for window in request.windows:
        target = context_of_targets.targets(store, window)
        first = int(store.offsets[window.document]) + window.start + window.first
        rows.append(store.tokens(first, first + len(target)).numpy() * store.vocab_size + target)
    return np.stack(rows)


def table(splits: Splits, wanted: Sequence[np.ndarray], weighed: np.ndarray) -> Table:
    """The table of the training split for these pairs (`pairs_of`).

    weighed: the pairs, any shape, whose loss chooses m.
    """
    keys = np.unique(np.concatenate([np.ravel(each) for each in wanted]))
    size = splits.vocab_size
    pairs, before, targets = np.zeros(len(keys)), np.zeros(size), np.zeros(size)
    for a, b in _parts(splits):
        before += np.bincount(a, minlength=size)
        targets += np.bincount(b, minlength=size)
        pairs += _counted(a * size + b, keys, size)
    unigram = (targets + 1) / (targets.sum() + size)
    tables = [Table(keys, pairs, before, unigram, m) for m in WEIGHTS]
    return min(tables, key=lambda one: float(one.losses(weighed).mean()))


def _counted(found: np.ndarray, keys: np.ndarray, size: int) -> np.ndarray:
    """(K,): how often each of the keys is among `found`."""
    if size * size <= DENSE:
        return np.bincount(found, minlength=size * size)[keys]
    place = np.minimum(np.searchsorted(keys, found), len(keys) - 1)
    return np.bincount(place[keys[place] == found], minlength=len(keys))


def _parts(splits: Splits) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(before, target) of the training split's pairs within documents, some at a time."""
    store = splits.train
    if splits.answers is not None:
        yield from _answer_parts(splits)
        return
    for first in range(0, store.n_tokens - 1, AT_ONCE):
        part = store.tokens(first, min(first + AT_ONCE + 1, store.n_tokens)).numpy()
        inside = np.ones(len(part) - 1, bool)
        begins = store.offsets[:-1] - first - 1  # targets that begin a document
        inside[begins[(begins >= 0) & (begins < len(inside))]] = False
        yield part[:-1][inside], part[1:][inside]


def _answer_parts(splits: Splits) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    held: list[tuple[np.ndarray, np.ndarray]] = []
    n_held = 0
    for index in range(splits.train.n_documents):
        document = splits.train.document(index).numpy()
        answers = splits.answers(document[1:]) if splits.answers else slice(None)
        held.append((document[:-1][answers], document[1:][answers]))
        n_held += len(document)
        if n_held >= AT_ONCE or index == splits.train.n_documents - 1:
            before, target = (np.concatenate(side) for side in zip(*held, strict=True))
            yield before, target
            held, n_held = [], 0
