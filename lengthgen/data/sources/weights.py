"""Laws of lags for lags.py, and the positional bias that is exactly right for each.

One causal attention head whose score is a bias b(D) alone, at the offset D = k - 1 (the query at
t - 1 predicts t), weighs the symbol k places before by e^(b(k-1)), normalised over the document so
far: the law of lags.py with w_k = e^(b(k-1)). One head of the right scheme is thus exactly Bayes
(the rest of the model gives the begin-of-document token no weight and turns the mixed symbols into
(1 - p) / V + p times their shares); with another scheme no amount of data helps.

| source | w_k | exactly right: b(D) | schemes that have it |
|---|---|---|---|
| geometric | e^(-m k) | -m D | ALiBi of slope m; KERPLE-power, exponent 1; per offset |
| power | k^(-a) | -a ln(1 + D) | KERPLE-log with r1 = a, r2 = 1; per offset |
| buckets | constant on each T5 bucket | any such steps | T5 with the same buckets; per offset |
| comb | 1 on P, 2P, ..., KP, else 0 | 0 or -infinity | per offset; T5 if each has a bucket |

ALiBi and KERPLE only fall with distance: they have no comb and no rising steps. A table per offset
has every law, as far as offsets were trained.

Shape letters: K lags. All functions give (lags, weights), each (K,); weights may have any sum.
"""

import numpy as np

Law = tuple[np.ndarray, np.ndarray]


def geometric(slope: float, reach: int) -> Law:
    """e^(-slope k) on the lags 1 .. reach."""
    lags = np.arange(1, reach + 1)
    lags = lags[slope * lags < 700]  # beyond, the weight underflows to 0
    return lags, np.exp(-slope * lags)


def power(exponent: float, reach: int) -> Law:
    """k^-exponent on the lags 1 .. reach."""
    lags = np.arange(1, reach + 1)
    return lags, lags ** -float(exponent)


def buckets(levels: list[float], num_buckets: int, max_distance: int, reach: int) -> Law:
    """On the lags 1 .. reach: bucket b has the share levels[b mod len(levels)], spread evenly."""
    lags = np.arange(1, reach + 1)
    bucket = t5_bucket(lags - 1, num_buckets, max_distance)
    share = np.resize(np.asarray(levels, dtype=np.float64), num_buckets)
    return lags, (share / np.maximum(np.bincount(bucket, minlength=num_buckets), 1))[bucket]


def comb(period: int, teeth: int) -> Law:
    """The lags period, 2 period, ..., teeth * period, all alike."""
    return period * np.arange(1, teeth + 1), np.ones(teeth)


def t5_bucket(offsets: np.ndarray, num_buckets: int, max_distance: int) -> np.ndarray:
    """The bucket of each offset D >= 0 in a causal T5 (Raffel et al., JMLR 2020).

    num_buckets / 2 single offsets, logarithmic ranges up to max_distance, then the last bucket.
    """
    exact = num_buckets // 2
    ratio = np.log(np.maximum(offsets, exact) / exact) / np.log(max_distance / exact)
    # 1e-9 puts an offset on a boundary into the upper bucket, however the logarithm rounds
    ranged = exact + np.floor(ratio * (num_buckets - exact) + 1e-9).astype(np.int64)
    return np.where(offsets < exact, offsets, np.minimum(ranged, num_buckets - 1))
