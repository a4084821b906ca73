"""A bug to plant: what planted.py and planted_evaluation.py list."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bug:
    kind: str  # the mistake, in words
    file: str  # from the root of the tree
    text: str  # the code to replace
    bug: str  # what replaces it
    tests: str  # the file with the tests that ought to fail
    words: str = ""  # which of them, as pytest's -k has it; empty: all
