"""The words that results are called by: what each means, and its tone, which is its colour.

A tone is never alone: the word stands beside it, with a sign of its own.
"""

from lengthgen.reporting.figures.length_axis import STATUS_WORDS

GOOD, FAIR, BAD, OPEN, WEAK = "good", "fair", "bad", "open", "weak"
TONES = {
    "uses": GOOD,
    "tolerates": FAIR,
    "undecided": OPEN,
    "fails": BAD,
    "positions not in use": WEAK,
    "untrained": WEAK,
    "supported": GOOD,
    "refuted": BAD,
    "not answerable": WEAK,
    "pass": GOOD,
    "fail": BAD,
}
MEANINGS = {
    "uses": "the loss does not rise, and falls by what the longer context gives",
    "tolerates": "the loss does not rise, and nothing is gained",
    "undecided": "the intervals are too wide to say, or there are too few documents",
    "fails": "the loss on the same targets rises by more than 0.01 nats",
    "refuses": "the scheme has no positions at that length",
    "positions not in use": "the model is no better than one without its positions",
    "untrained": "the model is no better than a table of token pairs",
}


def shown(word: str) -> str:
    """The word as people read it: `out of memory` for the status `oom`."""
    return STATUS_WORDS.get(word, word)


def tone(word: str) -> str:
    return TONES.get(word, WEAK)
