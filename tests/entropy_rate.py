"""Oracle for the floors of lags: the exact entropy rate of copying from the lags 1 .. K.

(Or from P, 2P, ..., KP, which is P such sources interleaved.) What comes next depends on the last K
symbols only through which of them are equal: the V^K states reduce to the set partitions of K
places, Bell(K) of them (52 for K = 5, 4,140 for K = 8) whatever V is. Their stationary
distribution, found by iteration, weighs the entropies of the next symbol.

Shape letters: K lags, S partitions.
"""

import numpy as np

from lengthgen.data.sources.lags import Lags

LARGEST_K = 9  # Bell(9) = 21,147

State = tuple[int, ...]  # entry k: the block of the symbol k + 1 places before, by first use


def entropy_rate_of(source: Lags) -> float:
    """Nats a symbol where all lags are there, for lags P, 2P, ..., KP; ValueError for others."""
    step = int(source.lags[0])
    if not np.array_equal(source.lags, step * np.arange(1, len(source.lags) + 1)):
        raise ValueError(f"lags {source.lags}: the closed form needs P, 2P, ..., KP")
    return entropy_rate(source.n_symbols, source.p, source.weights)


def entropy_rate(n_symbols: int, p: float, weights: np.ndarray) -> float:
    """Nats a symbol. weights: (K,), of the lags 1 .. K, sum 1. ValueError if not, or for K > 9."""
    if abs(weights.sum() - 1) > 1e-9:
        raise ValueError(f"weights of sum {weights.sum()}: expected 1")
    if len(weights) > LARGEST_K:
        raise ValueError(
            f"{len(weights)} lags: the closed form is computed for at most {LARGEST_K}; "
            "average `losses` instead"
        )
    states = _partitions(len(weights))
    number = {state: index for index, state in enumerate(states)}
    blocks = range(len(weights) + 1)
    chance = np.array([_next(state, n_symbols, p, weights) for state in states])  # (S, K + 1)
    follower = np.array([[number[_shift(state, block)] for block in blocks] for state in states])
    share = _stationary(chance, follower)
    return float(share @ _entropies(states, chance, n_symbols))


def _partitions(size: int) -> list[State]:
    states: list[State] = [()]
    for _ in range(size):
        states = [(*state, block) for state in states for block in range(len(set(state)) + 1)]
    return states


def _next(state: State, n_symbols: int, p: float, weights: np.ndarray) -> np.ndarray:
    """(K + 1,): chance that the next symbol is that of block 0, 1, ...; at last, any other."""
    n_blocks = len(set(state))
    copied = np.bincount(state, weights=weights, minlength=len(state) + 1)
    chance = np.where(np.arange(len(state) + 1) < n_blocks, (1 - p) / n_symbols + p * copied, 0.0)
    chance[-1] = max(n_symbols - n_blocks, 0) * (1 - p) / n_symbols
    return chance


def _shift(state: State, block: int) -> State:
    """The partition after a symbol of `block` (len(state): of none) came and the oldest left."""
    names: dict[int, int] = {}
    return tuple(names.setdefault(each, len(names)) for each in (block, *state[:-1]))


def _stationary(chance: np.ndarray, follower: np.ndarray) -> np.ndarray:
    """(S,) the stationary distribution."""
    # begun where all symbols are equal, so that partitions of more than V blocks keep 0
    share = np.eye(1, len(chance))[0]
    while True:
        flow = (share[:, None] * chance).ravel()
        after = np.bincount(follower.ravel(), weights=flow, minlength=len(share))
        if np.abs(after - share).sum() < 1e-13:
            return after / after.sum()
        share = np.asarray(after, dtype=np.float64)


def _entropies(states: list[State], chance: np.ndarray, n_symbols: int) -> np.ndarray:
    """(S,) of the next symbol; the chance of "any other" is spread evenly over those."""
    others = np.array([max(n_symbols - len(set(state)), 1) for state in states])
    terms = np.where(chance > 0, chance * np.log(np.where(chance > 0, chance, 1.0)), 0.0)
    return -terms.sum(axis=1) + chance[:, -1] * np.log(others)
