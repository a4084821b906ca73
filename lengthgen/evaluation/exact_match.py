"""Exact match: the share of documents whose whole answer is right (Splits.answers).

Measured under teacher forcing: a document, read with the right answer in it, matches if the most
likely token is the right one at every answer symbol. Greedy decoding gives the same, as up to its
first wrong symbol it reads the same text; given symbols between answers (the keys of mqar) are fed
in both. For schemes that are not prefix-consistent it is decoding inside a window of the document's
length.

The 95 % interval is Wilson's (1927, JASA 22) over documents: it holds at 0 and 1 as well, where a
bootstrap has no width. It is for new documents, not for new seeds.

Shape letters: K draws of positions, W windows, P scored positions, V tokens of the vocabulary.
"""

from collections.abc import Callable, Sequence

import numpy as np

from lengthgen.data.splits import Splits
from lengthgen.data.tokens import TokenStore
from lengthgen.evaluation.planners import Request
from lengthgen.statistics import bootstrap


def answers_of(request: Request, splits: Splits) -> np.ndarray | None:
    """(W, P) bool: which targets are answers; None for data without.

    A window is a whole document.
    """
    if splits.answers is None:
        return None
    return np.stack([splits.answers(document[1:]) for document in _documents(request, splits)])


def matches(hits: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """(K, W, P) hits, (W, P) answers -> (W,): 1 where all answers are hits, mean over draws."""
    return (hits | ~answers).all(axis=-1).mean(axis=0)


def wilson(n_right: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a share of n_right in n; too wide where draws give no whole number."""
    z = bootstrap.Z
    middle, half = n_right + z * z / 2, z * np.sqrt(n_right * (n - n_right) / n + z * z / 4)
    low, high = (float(end / (n + z * z)) for end in (middle - half, middle + half))
    return max(0.0, low), min(1.0, high)


def chance(splits: Splits, requests: Sequence[Request]) -> list[dict] | None:
    """Exact match and token accuracy, at each length, of a guess that reads only the token before.

    Any result must beat it: the commonest answer after that token in the training documents, which
    knows nothing of the prompt. None for data without answers.
    """
    if splits.answers is None:
        return None
    guess = _guesses(splits.train, splits.answers, splits.vocab_size)
    rows = []
    for request in requests:
        documents = np.stack(_documents(request, splits))
        answers = np.stack([splits.answers(document[1:]) for document in documents])
        hits = guess[documents[:, :-1]] == documents[:, 1:]
        match, accuracy = matches(hits[None], answers).mean(), hits[answers].mean()
        scores = {"exact_match": float(match), "token_accuracy": float(accuracy)}
        rows.append({"eval_length": request.eval_length} | scores)
    return rows


def _documents(request: Request, splits: Splits) -> list[np.ndarray]:
    return [splits.validation.document(window.document).numpy() for window in request.windows]


def _guesses(
    store: TokenStore, answers_in: Callable[[np.ndarray], np.ndarray], vocab_size: int
) -> np.ndarray:
    """(V,) int64: the commonest answer after each token, the lowest of equals.

    -1 where none was.
    """
    pairs = []
    for index in range(store.n_documents):
        document = store.document(index).numpy()
        answers = answers_in(document[1:])
        pairs.append(document[:-1][answers] * vocab_size + document[1:][answers])
    values, counts = np.unique(np.concatenate(pairs), return_counts=True)
    before, after = np.divmod(values, vocab_size)
    # Of several writes to one place numpy keeps the last: the commonest, and the lowest of equals.
    order = np.lexsort((-after, counts))
    guess = np.full(vocab_size, -1)
    guess[before[order]] = after[order]
    return guess
