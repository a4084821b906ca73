"""The context profile of a dataset: how much the last k tokens are worth, without a Transformer.

The loss of the counting predictor of statistics/context_model.py on the same validation targets at
every k = 16, 32, ... up to 16 times the training length, the gain from context beyond it, and the
mutual information of two tokens by their distance. A result is kept in the cache, by the data's
fingerprint.

Shape letters: T targets, K window sizes, D documents. Nats.
"""

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lengthgen import files
from lengthgen.data.splits import Splits
from lengthgen.data.tokens import TokenStore
from lengthgen.errors import DataError
from lengthgen.statistics import comparisons, context_model, information
from lengthgen.statistics.paired import Paired

VERSION = 2  # raised when the same data would have another profile
SMALLEST = context_model.LARGEST  # tokens of context
FACTOR = 16  # the most context, in training lengths
BLOCK = 64  # targets that follow each other
TARGETS = 16_384
FEWEST = 1_024  # targets; with fewer, the longest contexts are left out
COUNTED = 1 << 24  # tokens of the training text that are counted, its first
INFORMED = 1 << 20  # tokens of the training text for the mutual information
GAINS = (2, 4, 16)  # training lengths of context: the gain over one
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Profile:
    """lows, highs: 95 % intervals of the gains, over documents; NaN with a single document."""

    label: str
    tokenizer: str
    train_length: int
    counted: int  # tokens of training text behind the counts
    n_targets: int
    n_documents: int
    windows: list[int]  # (K,)
    losses: list[float]  # (K,)
    floors: list[float]  # (K,) the exact floor of a synthetic source; NaN: no exact rule
    gains: list[float]  # (3,) from train_length to GAINS times it; NaN: documents are too short
    lows: list[float]
    highs: list[float]
    distances: list[int]
    information: list[float]


def profile(splits: Splits, train_length: int, cache: Path) -> Profile:
    """Read from the cache, or computed: some seconds to a minute. DataError for too little text."""
    name = f"{splits.fingerprint}-L{train_length}-v{VERSION}.json"
    path = cache / "profiles" / name
    try:
        stored = files.read_sealed(path)
        if stored is not None:
            return dataclasses.replace(Profile(**stored), label=splits.label)
    except (DataError, TypeError) as error:  # TypeError: other fields
        log.warning("%s; computing it again", str(error).split(";")[0])
    made = _measured(splits, train_length)
    files.write_sealed(path, dataclasses.asdict(made))
    return made


def _measured(splits: Splits, train_length: int) -> Profile:
    train, validation = splits.train, splits.validation
    every = np.arange(validation.n_documents)
    windows = [SMALLEST]
    while windows[-1] < FACTOR * train_length:
        windows.append(2 * windows[-1])
    while True:
        tuning = _tuning(train, windows[-1])
        fit, places = _targets(train, tuning, windows[-1]), _targets(validation, every, windows[-1])
        if min(len(fit), len(places)) >= FEWEST or len(windows) == 1:
            break
        windows.pop()
    if not min(len(fit), len(places)):
        raise DataError(
            f"dataset {splits.label}: a profile needs training and validation documents of at "
            f"least {SMALLEST + BLOCK} tokens"
        )
    counted = _counted(train, tuning)
    predictor = context_model.Predictor(counted, splits.vocab_size)
    predictor.fit(train.tokens(0, train.n_tokens).numpy(), fit, windows)
    losses = predictor.losses(validation.tokens(0, validation.n_tokens).numpy(), places, windows)
    document = np.searchsorted(validation.offsets, places, side="right") - 1
    gains = [_gain(losses, document, windows, train_length, factor) for factor in GAINS]
    text = train.tokens(0, min(INFORMED, train.n_tokens)).numpy()
    distances = [distance for distance in (1, 4, *windows) if distance < len(text) // 8]
    return Profile(
        label=splits.label,
        tokenizer=splits.tokenizer,
        train_length=train_length,
        counted=len(counted),
        n_targets=len(places),
        n_documents=len(np.unique(document)),
        windows=windows,
        losses=losses.mean(axis=0).tolist(),
        floors=_floors(splits, document, places, windows),
        gains=[gain[0] for gain in gains],
        lows=[gain[1] for gain in gains],
        highs=[gain[2] for gain in gains],
        distances=distances,
        information=information.by_lag(text, distances).tolist(),
    )


def _tuning(train: TokenStore, window: int) -> np.ndarray:
    """The training documents that the predictor is fitted on, spread over the long ones: one in
    twenty, or as many as it takes for half of TARGETS, but never more than half of them.
    """
    room = (train.lengths - 1 - window) // BLOCK
    long = np.flatnonzero(room > 0)
    if len(long) < 2:
        return long
    needed = int(np.ceil(TARGETS / 2 / BLOCK / np.median(room[long])))
    return long[:: len(long) // min(max(needed, -(-len(long) // 20)), len(long) // 2)]


def _counted(train: TokenStore, tuning: np.ndarray) -> np.ndarray:
    """(N,) the tokens of the other training documents, up to COUNTED."""
    parts, total = [], 0
    for document in np.setdiff1d(np.arange(train.n_documents), tuning):
        if total >= COUNTED:
            break
        parts.append(train.document(int(document)).numpy()[: COUNTED - total])
        total += len(parts[-1])
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _targets(store: TokenStore, documents: np.ndarray, window: int) -> np.ndarray:
    """(T,) places in the stream: blocks spread evenly over documents, `window` tokens before each.

    The begin-of-document token is no context.
    """
    room = (store.lengths[documents] - 1 - window) // BLOCK  # blocks that a document can have
    each = -(-TARGETS // (BLOCK * max(1, int((room > 0).sum()))))
    places = []
    for document, blocks in zip(documents.tolist(), room.tolist(), strict=True):
        n = min(each, int(blocks))
        for number in range(n):
            start = store.offsets[document] + 1 + window + BLOCK * (blocks * number // n)
            places.append(start + np.arange(BLOCK))
    return np.concatenate(places) if places else np.zeros(0, np.int64)


def _gain(
    losses: np.ndarray, document: np.ndarray, windows: list[int], train_length: int, factor: int
) -> tuple[float, float, float]:
    """(gain, low, high) from train_length tokens of context to `factor` times as many."""
    if train_length not in windows or factor * train_length not in windows:
        return (float("nan"),) * 3
    gain = losses[:, windows.index(train_length)] - losses[:, windows.index(factor * train_length)]
    sums = np.bincount(document, gain)
    n_tokens = np.bincount(document).astype(np.float64)
    scored = n_tokens > 0
    found = comparisons.estimate(Paired(sums[None, None, scored], n_tokens[None, scored]))
    return float(found.value[0]), float(found.low[0]), float(found.high[0])


def _floors(
    splits: Splits, document: np.ndarray, places: np.ndarray, windows: list[int]
) -> list[float]:
    """(K,) the mean exact floor with the last k tokens; NaN where there is no rule."""
    if splits.floors is None:
        return [float("nan")] * len(windows)
    store, source = splits.validation, splits.floors.dataset
    total = np.zeros(len(windows))
    for number in np.unique(document):
        symbols = store.document(int(number))[1:].numpy()
        at = places[document == number] - store.offsets[number] - 1
        for column, window in enumerate(windows):
            total[column] += source.floors(symbols, window)[at].sum()
    return (total / len(places)).tolist()
