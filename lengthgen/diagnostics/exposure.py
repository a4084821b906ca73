"""Gradient exposure: how often training reaches each entry of the positional parameters, how far it moved, and what it never reached.

Counted exactly, per training sequence of L tokens, at the entries that reads.py finds:
- by offset (a bias that depends on it): query-key pairs whose bias reads the entry. An offset D occurs L - D times, so that the last entry
  of a table of offsets is trained by one pair a sequence; a T5 bucket has the pairs of all its offsets;
- by position (codes added to the input): loss terms that the entry's rows can influence, L - t for a position t.
Where the text or chance decides positions, counts are means over training windows. Entries that are neither (networks, gates, projections)
act on every pair; of these only the movement is told.

Movement is that of the trained weights against those before the first step, which are a function of the seed. An entry that nothing in
training reads has no gradient and keeps its first value (but for weight decay).
Untrained share: of a causal window of n > L tokens m (m + 1) / 2 pairs, m = n - L, have an offset of L or more, and m queries a position.

Shape letters: L training length, T longest length.
"""

import math

import torch
from torch import Tensor

from lengthgen.diagnostics import reads
from lengthgen.diagnostics.findings import Finding, Table
from lengthgen.diagnostics.subject import Subject

ENTRIES = 65536  # of a counted parameter, at most, that have a row each; of a longer one only its first axes have
BLOCKS = 64  # rows, at most, of a parameter that is not counted

COLUMNS = {
    "parameter": "name in the scheme; empty: what is read where no parameter is",
    "index": "of the row or entry, axes joined by points; empty: the whole parameter",
    "by": "what reads it: offset, position, or empty (not counted)",
    "first": "least offset or position within a training window that reads it",
    "last": "greatest",
    "terms": "per training sequence: query-key pairs (by offset; mean over layers) or loss terms (by position); empty: not counted",
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


def measure(subject: Subject) -> Finding:
    """Tables exposure and untrained_share."""
    L = subject.train_length
    shares = [{"eval_length": n, **untrained_share(n, L)} for n in subject.lengths]
    tables, said = [Table("untrained_share", SHARES, shares)], []
    if subject.longest > L:
        last = shares[-1]
        said.append(
            f"At {subject.longest:,} tokens {last['pairs_untrained']:.1%} of causal pairs have an offset of at least {L:,}, and "
            f"{last['queries_untrained']:.1%} of queries such a position."
        )
    before, after = reads.learned(subject.initial), reads.learned(subject.trained)
    if not after:
        return Finding(tables, [*said, "The scheme has no learned parameters."])
    by_offset, by_position = counted(subject, list(after.values()))
    rows = []
    for number, (name, first) in enumerate(before.items()):
        found = next(
            (
                one
                for one in (by_offset, by_position)
                if one is not None and one.terms[number] is not None
            ),
            None,
        )
        rows += rows_of(name, first.detach(), after[name].detach(), found, number)
    beyond = [
        row for one in (by_offset, by_position) if one is not None for row in unread(subject, one)
    ]
    return Finding(
        [Table("exposure", COLUMNS, rows + beyond), *tables], _reading(rows, beyond) + said
    )


class Counted:
    """Terms, and the least and greatest place, of every entry of every parameter that the places of one kind read.

    terms, first, last: for each parameter a tensor of its shape, None where no place reads it or each place reads all of it.
    """

    def __init__(self, by: str, parameters: list[Tensor], total: float):
        self.by, self.total = by, total
        self.terms: list[Tensor | None] = [
            torch.zeros(p.shape, dtype=torch.float64) for p in parameters
        ]
        self.first = [torch.full(p.shape, torch.iinfo(torch.int64).max) for p in parameters]
        self.last = [torch.full(p.shape, -1) for p in parameters]
        self.whole = [True] * len(parameters)  # every place that reads any entry reads all

    def add(self, place: int, read: list[Tensor | None], weight: float) -> None:
        """`weight` terms of training come to `place`, which reads these entries."""
        for n, mask in enumerate(read):
            if mask is not None and weight > 0:
                mask = mask.cpu()
                self.terms[n] += weight * mask
                self.first[n] = torch.where(mask, self.first[n].clamp(max=place), self.first[n])
                self.last[n] = torch.where(mask, self.last[n].clamp(min=place), self.last[n])
                self.whole[n] &= bool(mask.all())

    def close(self) -> "Counted | None":
        """Itself, without the parameters that are no tables; None if none is left."""
        self.terms = [
            None if whole else terms for terms, whole in zip(self.terms, self.whole, strict=True)
        ]
        return self if any(terms is not None for terms in self.terms) else None


def counted(subject: Subject, parameters: list[Tensor]) -> tuple[Counted | None, Counted | None]:
    """By offset, by position: what training counts of the trained scheme's parameters; None where nothing is a table."""
    scheme, L = subject.trained, subject.train_length
    found: list[Counted | None] = [None, None]
    if scheme.declaration.structure == "toeplitz":
        pairs = reads.pairs_by_offset(scheme, L)
        offsets = Counted("offset", parameters, float(pairs.sum()))
        for offset, read in reads.of_offsets(scheme, parameters, L):
            offsets.add(offset, read, float(pairs[offset]))
        found[0] = offsets.close()
    windows = reads.as_in_training(scheme, subject.training)
    positions = Counted("position", parameters, L * (L + 1) / 2)
    for window in windows:
        for t, read in reads.of_positions(scheme, parameters, window, L):
            positions.add(t, read, (L - t) / len(windows))
    found[1] = positions.close()
    return found[0], found[1]


def rows_of(
    name: str, before: Tensor, after: Tensor, found: Counted | None, number: int
) -> list[dict]:
    """A row for each entry (by offset), each first index (by position), or each block of leading axes that are few (not counted)."""
    by = found.by if found else ""
    axes = 1 if by == "position" else leading(before.shape, ENTRIES if by else BLOCKS)
    shape = before.shape[:axes]
    rows = []
    initial, moved = rms(before, axes), rms(after - before, axes)
    for index in (
        torch.cartesian_prod(*map(torch.arange, shape)).view(-1, axes).tolist() if axes else [[]]
    ):
        at = tuple(index)
        row = {
            "parameter": name, "index": ".".join(map(str, index)), "by": by, "first": None, "last": None, "terms": None, "share": None,
            "initial": float(initial[at]), "moved": float(moved[at]), "reached": int(moved[at] > 0),
        }  # fmt: skip
        if by:
            terms, last = float(found.terms[number][at].max()), int(found.last[number][at].max())
            read = last >= 0
            row |= {
                "terms": terms,
                "share": terms / found.total,
                "first": int(found.first[number][at].min()) if read else None,
            }
            row |= {"last": last if read else None, "reached": int(read and moved[at] > 0)}
        rows.append(row)
    return rows


def unread(subject: Subject, found: Counted) -> list[dict]:
    """Runs of places past the training length, as they are evaluated, that read none of the tables that training reads."""
    scheme, L, T = subject.model.scheme, subject.train_length, subject.longest
    parameters = list(reads.learned(scheme).values())
    if T == L or len(parameters) != len(found.terms):
        return []
    if found.by == "offset":
        if scheme.declaration.structure != "toeplitz":
            return []
        every = reads.of_offsets(scheme, parameters, T)
    else:
        every = reads.of_positions(scheme, parameters, scheme.read(subject.windows[T][:1]), T)
    reading = {
        place
        for place, read in every
        if any(r is not None for r, t in zip(read, found.terms, strict=True) if t is not None)
    }
    missing = [place for place in range(L, T) if place not in reading]
    return [
        {"parameter": "", "index": "", "by": found.by, "first": first, "last": last, "terms": 0.0, "share": 0.0, "initial": None,
         "moved": 0.0, "reached": 0}
        for first, last in runs(missing)
    ]  # fmt: skip


def runs(places: list[int]) -> list[tuple[int, int]]:
    """(first, last) of each run of neighbours in ascending places."""
    starts = [p for p, q in zip(places, [None, *places][: len(places)], strict=True) if q != p - 1]
    ends = [
        p for p, q in zip(places, [*places[1:], None][: len(places)], strict=True) if q != p + 1
    ]
    return list(zip(starts, ends, strict=True))


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
    """pairs_untrained and queries_untrained of a causal window of `length` tokens."""
    beyond = max(0, length - train_length)
    return {
        "pairs_untrained": beyond * (beyond + 1) / (length * (length + 1)),
        "queries_untrained": beyond / length,
    }


def _reading(rows: list[dict], beyond: list[dict]) -> list[str]:
    said = []
    for by, what in (("offset", "pairs"), ("position", "loss terms")):
        tables = [row for row in rows if row["by"] == by]
        if not tables:
            continue
        names = dict.fromkeys(row["parameter"] for row in tables)
        most, least = (
            max(tables, key=lambda row: row["terms"]),
            min(tables, key=lambda row: row["terms"]),
        )
        said.append(
            f"Of {', '.join(names)}, read by {by}, the entry {most['index']} has most {what} a sequence ({most['terms']:,.6g}, "
            f"{most['share']:.1%}; {by}s {most['first']} to {most['last']}) and {least['index']} fewest ({least['terms']:,.6g})."
        )
        untouched = [row["index"] for row in tables if not row["reached"]]
        said.append(
            f"No gradient reached {len(untouched)} of the {len(tables)} rows"
            + (f": {_listed(untouched)}." if untouched else ".")
        )
    for row in beyond:
        said.append(
            f"{row['by'].capitalize()}s {row['first']:,} to {row['last']:,} read no trained parameter: no gradient reached what is there."
        )
    for name in dict.fromkeys(row["parameter"] for row in rows if not row["by"]):
        own = [row for row in rows if row["parameter"] == name]
        moved, initial = (
            math.sqrt(sum(row[key] ** 2 for row in own) / len(own)) for key in ("moved", "initial")
        )
        said.append(
            f"{name} moved by {moved:.3g} (root mean square) from {initial:.3g}; it is no table of positions or offsets."
        )
    return said


def _listed(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 8 else f"{', '.join(names[:4])}, ..., {names[-1]}"
