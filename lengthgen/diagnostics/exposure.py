"""Gradient exposure: how often training reaches each positional entry, and how far each moved.

Counted exactly, per training sequence of L tokens, at the entries that reads.py finds:
- by offset (a bias that depends on it): query-key pairs whose bias reads the entry. An offset D
  occurs L - D times: one pair a sequence trains the last entry of a table of offsets;
- by position (codes added to the input): loss terms that the entry can influence, L - t for t.
Where the text or chance decides positions, counts are means over training windows. Of other entries
(networks, gates), which act on every pair, only the movement is reported.

Movement is from the weights before the first step. An entry that nothing in training reads keeps
its first value (but for weight decay).
Untrained share: of a causal window of n > L tokens m (m + 1) / 2 pairs, m = n - L, have an offset
of L or more, and m queries a position.

Shape letters: L training length, T longest length.
"""

import math

import torch
from torch import Tensor

from lengthgen.diagnostics import reads
from lengthgen.diagnostics.diagnosed_model import DiagnosedModel
from lengthgen.diagnostics.findings import Finding, Table

ENTRIES = 65536  # rows, at most, of a counted parameter; a longer one has its first axes'
BLOCKS = 64  # of one that is not counted

COLUMNS = {
    "parameter": "name in the scheme; empty: what is read where no parameter is",
    "index": "of the row or entry, axes joined by points; empty: the whole parameter",
    "by": "what reads it: offset, position, or empty (not counted)",
    "first": "least offset or position within a training window that reads it",
    "last": "greatest",
    "terms": "per training sequence: query-key pairs (by offset; mean over layers) or loss terms"
    " (by position); empty: not counted",
    "share": "terms / all pairs of the sequence, or all loss terms of its positions",
    "initial": "root mean square before the first step",
    "moved": "root mean square of the change in training",
    "reached": "1: training moved it; 0: not",
}
SHARES = {
    "eval_length": "tokens in the window",
    "pairs_untrained": "share of its causal query-key pairs with an offset >= train_length",
    "queries_untrained": "share of its query positions >= train_length",
}


def measure(subject: DiagnosedModel) -> Finding:
    """Tables exposure and untrained_share."""
    L = subject.train_length
    shares = [{"eval_length": n, **untrained_share(n, L)} for n in subject.lengths]
    tables, sentences = [Table("untrained_share", SHARES, shares)], []
    if subject.longest > L:
        last = shares[-1]
        sentences.append(
            f"At {subject.longest:,} tokens {last['pairs_untrained']:.1%} of causal pairs have an"
            f" offset of at least {L:,}, and {last['queries_untrained']:.1%} of queries such"
            " a position."
        )
    before, after = reads.learned(subject.initial), reads.learned(subject.trained)
    if not after:
        return Finding(tables, [*sentences, "The scheme has no learned parameters."])
    counts = count_reads(subject, list(after.values()))
    rows = []
    for number, (name, initial) in enumerate(before.items()):
        counted = next((c for c in counts if number in c.tables), None)
        rows += rows_of(name, initial.detach(), after[name].detach(), counted, number)
    beyond = [row for counted in counts for row in unread(subject, counted)]
    tables.insert(0, Table("exposure", COLUMNS, rows + beyond))
    return Finding(tables, _sentences(rows, beyond) + sentences)


class EntryCounts:
    """Of each entry of a parameter: terms, and the least and greatest place that reads it."""

    def __init__(self, parameter: Tensor):
        self.terms = torch.zeros(parameter.shape, dtype=torch.float64)
        self.first = torch.full(parameter.shape, torch.iinfo(torch.int64).max)
        self.last = torch.full(parameter.shape, -1)
        self.is_table = False  # whether some place reads a part of it only

    def add(self, place: int, read: Tensor, weight: float) -> None:
        """`weight` terms of training come to `place`, which reads the mask `read`."""
        read = read.cpu()
        self.terms += weight * read
        self.first = torch.where(read, self.first.clamp(max=place), self.first)
        self.last = torch.where(read, self.last.clamp(min=place), self.last)
        self.is_table |= not bool(read.all())


class ReadCounts:
    """What places of one kind, offsets or positions, read in training; total: their terms."""

    def __init__(self, by: str, parameters: list[Tensor], total: float):
        self.by, self.total, self.n_parameters = by, total, len(parameters)
        self._entries = [EntryCounts(parameter) for parameter in parameters]

    def add(self, place: int, masks: list[Tensor | None], weight: float) -> None:
        for entries, mask in zip(self._entries, masks, strict=True):
            if mask is not None and weight > 0:
                entries.add(place, mask, weight)

    @property
    def tables(self) -> dict[int, EntryCounts]:
        """By number, the parameters of which some place reads a part only."""
        return {n: entries for n, entries in enumerate(self._entries) if entries.is_table}


def count_reads(subject: DiagnosedModel, parameters: list[Tensor]) -> list[ReadCounts]:
    """By offset, then by position, where the trained scheme has such tables."""
    scheme, L = subject.trained, subject.train_length
    counts = []
    if scheme.structure == "toeplitz":
        pairs = reads.pairs_by_offset(scheme, L)
        by_offset = ReadCounts("offset", parameters, float(pairs.sum()))
        for offset, masks in reads.of_offsets(scheme, parameters, L):
            by_offset.add(offset, masks, float(pairs[offset]))
        counts.append(by_offset)
    windows = reads.as_in_training(scheme, subject.training)
    by_position = ReadCounts("position", parameters, L * (L + 1) / 2)
    for window in windows:
        for t, masks in reads.of_positions(scheme, parameters, window, L):
            by_position.add(t, masks, (L - t) / len(windows))
    return [c for c in (*counts, by_position) if c.tables]


def rows_of(
    name: str, before: Tensor, after: Tensor, counted: ReadCounts | None, number: int
) -> list[dict]:
    """A row for each entry (by offset), first index (by position) or leading block."""
    by = counted.by if counted else ""
    axes = 1 if by == "position" else leading(before.shape, ENTRIES if by else BLOCKS)
    initial, moved = rms(before, axes), rms(after - before, axes)
    entries = counted.tables[number] if counted else None
    rows = []
    for index in torch.ones(before.shape[:axes]).nonzero().tolist():
        at = tuple(index)
        row = {
            "parameter": name, "index": ".".join(map(str, index)), "by": by,
            "first": None, "last": None, "terms": None, "share": None,
            "initial": float(initial[at]), "moved": float(moved[at]), "reached": int(moved[at] > 0),
        }  # fmt: skip
        if counted and entries:
            # of a first index (by position): the most terms, and the range of its entries
            terms, last = float(entries.terms[at].max()), int(entries.last[at].max())
            read = last >= 0
            row |= {
                "terms": terms, "share": terms / counted.total,
                "first": int(entries.first[at].min()) if read else None,
                "last": last if read else None, "reached": int(read and moved[at] > 0),
            }  # fmt: skip
        rows.append(row)
    return rows


def unread(subject: DiagnosedModel, counted: ReadCounts) -> list[dict]:
    """Runs of places past the training length that read none of the trained tables."""
    scheme, L, T = subject.model.scheme, subject.train_length, subject.longest
    parameters = list(reads.learned(scheme).values())
    if T == L or len(parameters) != counted.n_parameters:
        return []
    if counted.by == "position":
        places = reads.of_positions(scheme, parameters, scheme.read(subject.windows[T][:1]), T)
    elif scheme.structure == "toeplitz":
        places = reads.of_offsets(scheme, parameters, T)
    else:
        return []
    tables = counted.tables
    reading = {place for place, masks in places if any(masks[n] is not None for n in tables)}
    missing = [place for place in range(L, T) if place not in reading]
    return [
        {"parameter": "", "index": "", "by": counted.by, "first": first, "last": last, "terms": 0.0,
         "share": 0.0, "initial": None, "moved": 0.0, "reached": 0}
        for first, last in ranges(missing)
    ]  # fmt: skip


def ranges(places: list[int]) -> list[tuple[int, int]]:
    """(first, last) of each run of neighbours in ascending places."""
    numbers = set(places)
    firsts = [p for p in places if p - 1 not in numbers]
    lasts = [p for p in places if p + 1 not in numbers]
    return list(zip(firsts, lasts, strict=True))


def leading(shape: torch.Size, most: int) -> int:
    """How many leading axes have at most `most` indices together."""
    axes = 0
    while axes < len(shape) and math.prod(shape[: axes + 1]) <= most:
        axes += 1
    return axes


def rms(x: Tensor, axes: int) -> Tensor:
    """Root mean square over all but the first `axes` axes."""
    return x.double().square().reshape(*x.shape[:axes], -1).mean(-1).sqrt().cpu()


def untrained_share(length: int, train_length: int) -> dict[str, float]:
    """The columns of SHARES of a causal window of `length` tokens."""
    beyond = max(0, length - train_length)
    return {
        "pairs_untrained": beyond * (beyond + 1) / (length * (length + 1)),
        "queries_untrained": beyond / length,
    }


def _sentences(rows: list[dict], beyond: list[dict]) -> list[str]:
    sentences = []
    for by, unit in (("offset", "pairs"), ("position", "loss terms")):
        tables = [row for row in rows if row["by"] == by]
        if not tables:
            continue
        names = ", ".join(dict.fromkeys(row["parameter"] for row in tables))
        most = max(tables, key=lambda row: row["terms"])
        least = min(tables, key=lambda row: row["terms"])
        sentences.append(
            f"Of {names}, read by {by}, the entry {most['index']} has most {unit} a sequence"
            f" ({most['terms']:,.6g}, {most['share']:.1%}; {by}s {most['first']} to {most['last']})"
            f" and {least['index']} fewest ({least['terms']:,.6g})."
        )
        untouched = [row["index"] for row in tables if not row["reached"]]
        some = untouched if len(untouched) <= 8 else [*untouched[:4], "...", untouched[-1]]
        named = f": {', '.join(some)}" if some else ""
        sentences.append(f"No gradient reached {len(untouched)} of the {len(tables)} rows{named}.")
    for row in beyond:
        sentences.append(
            f"{row['by'].capitalize()}s {row['first']:,} to {row['last']:,} read no trained"
            " parameter: no gradient reached what is there."
        )
    for name in dict.fromkeys(row["parameter"] for row in rows if not row["by"]):
        blocks = [row for row in rows if row["parameter"] == name]
        moved, initial = (
            math.sqrt(sum(row[key] ** 2 for row in blocks) / len(blocks))
            for key in ("moved", "initial")
        )
        sentences.append(
            f"{name} moved by {moved:.3g} (root mean square) from {initial:.3g};"
            " it is no table of positions or offsets."
        )
    return sentences
