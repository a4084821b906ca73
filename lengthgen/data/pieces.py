"""Long texts in parts that a tokeniser of the library `tokenizers` takes one at a time.

A part encodes as it does in its text. Only a run of letters (or digits, signs, white space) that is
longer than LONGEST is cut, where the library would need time by the square of its length: text has
none, the longest of 8 MB of source code has 500 characters.
"""

import itertools
import re
from collections.abc import Callable, Iterator

LONGEST = 4096  # characters of one run
SIZE = 1 << 18  # characters of a part, about; the library needs 100 bytes for each

Tokens = Callable[[str], list[tuple[str, tuple[int, int]]]]  # what the library merges within
# No run of a GPT-2-like pattern spans from a letter to white space, so a cut there changes no id.
_CUT = re.compile(r"(?<=[^\W\d_])(?=[ \n])")
_LONG = re.compile(rf"\S{{{LONGEST // 8},}}|\s{{{LONGEST // 8},}}")


def pieces(text: str, tokens: Tokens, size: int = SIZE) -> Iterator[str]:
    """The parts of a text, in order. tokens: the library's `pre_tokenize_str`."""
    first = 0
    while first < len(text):
        last = _end(text, first, tokens, size)
        yield from _bounded(text[first:last], tokens)
        first = last


def _end(text: str, first: int, tokens: Tokens, size: int) -> int:
    """Where the part that begins at `first` ends."""
    cut = _CUT.search(text, first + size, first + 2 * size)
    if cut:
        return cut.start()
    if len(text) - first <= 2 * size:
        return len(text)
    # Without such a place, as in Chinese: before the last run that no white space precedes. What
    # stands before it is divided as in the whole text.
    window = text[first : first + size]
    for _, (start, _) in reversed(tokens(window)):
        if start and not window[start - 1].isspace():
            return first + start
    return first + size


def _bounded(part: str, tokens: Tokens) -> Iterator[str]:
    if not any(len(run.group()) > LONGEST for run in _LONG.finditer(part)):
        yield part
        return
    cuts = [at for _, (start, stop) in tokens(part) for at in range(start + LONGEST, stop, LONGEST)]
    for first, last in itertools.pairwise([0, *cuts, len(part)]):
        yield part[first:last]
