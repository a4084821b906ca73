"""The table of docs/pages/perplexity.md: one model, the same documents, by every convention."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness import windows
from harness.windows import Sums
from lengthgen.reporting import text_tables
from lengthgen.runs.loading import LoadedRun

DOCUMENTS, TARGETS = 12, 2000
BEGIN, END = "<!-- figures: scripts/perplexity_conventions -->", "<!-- end of figures -->"
HEAD = ("", "by", "targets", "mean context", "nats/token", "difference")


@dataclass(frozen=True)
class Line:
    """A convention, and the line before it that it must equal, if any."""

    name: str
    by: str
    sums: Sums
    same: bool = False

    def cells(self, before: "Line | None") -> list[str]:
        gap = abs(self.sums.per_token - before.sums.per_token) if self.same and before else None
        return [
            self.name,
            self.by,
            f"{int(self.sums.tokens.sum()):,}",
            f"{self.sums.mean_context:.1f}",
            f"{self.sums.per_token:.4f}",
            "" if gap is None else f"{gap:.0e}",
        ]


def table(run: LoadedRun, folder: Path, count: int = DOCUMENTS, n: int = TARGETS) -> list[str]:
    """Markdown. folder: the run as it was exported."""
    lines = list(compared(run, folder, count, n))
    pairs = zip(lines, [None, *lines], strict=False)
    rows = [line.cells(before) for line, before in pairs]
    L = int(run.config.train_length)
    return [
        f"`{run.folder.name}`: trained at {L} bytes; the first {n:,} targets of {count} validation "
        "documents.",
        "",
        *text_tables.markdown(HEAD, rows, "llrrrr"),
        "",
        *units(lines[0].sums, windows.documents_of(run, count, n)[1]),
    ]


def compared(run: LoadedRun, folder: Path, count: int, n: int) -> Iterator[Line]:
    """The harness's convention, then lengthgen's on the same windows, where it has them."""
    chosen, texts = windows.documents_of(run, count, n)
    L = int(run.config.train_length)
    whole = n // L * L
    stride = L // 4

    def ours(protocol: str, length: int, step: int = L, targets: int = n) -> Sums:
        return windows.by_lengthgen(run, chosen, targets, protocol, length, step)

    def theirs(length: int, context_len: int = 1, targets: int = n, **options: object) -> Sums:
        cut = [text[:targets] for text in texts]
        return windows.by_harness(windows.harness(folder, length, **options), cut, context_len)

    yield Line(f"rolling, max_length {L}", "lm-eval", theirs(L))
    yield Line(f"the same, text cut to {whole:,} targets", "lm-eval", theirs(L, targets=whole))
    yield Line(f"nonoverlapping, {L}", "lengthgen", ours("nonoverlapping", L), same=True)
    sliding = L - stride + 1
    yield Line(f"windows with context_len {sliding}", "lm-eval", theirs(L, sliding))
    yield Line(f"sliding, {L}, stride {stride}", "lengthgen", ours("sliding", L, stride), same=True)
    yield Line(f"matched, {L}, blocks of {stride}", "lengthgen", ours("matched", L, stride))
    for factor in (0.25, 2, 4):
        length = int(factor * L)
        cut = n // length * length
        yield Line(f"rolling, max_length {length}", "lm-eval", theirs(length, targets=cut))
        yield Line(
            f"nonoverlapping, {length}", "lengthgen", ours("nonoverlapping", length), same=True
        )
    doubled = theirs(L, add_bos_token=True)
    yield Line("rolling with add_bos_token=True", "lm-eval", doubled)


def units(sums: Sums, texts: Sequence[str]) -> list[str]:
    """The first line in the units that papers and the harness print."""
    loss = sums.loss.sum()
    n_bytes = sum(len(text.encode()) for text in texts)
    n_words = sum(len(text.split()) for text in texts)
    of_documents = float(np.mean(np.exp(sums.loss / sums.tokens)))
    rows = [
        ("perplexity of a token: exp(nats/token)", f"{math.exp(sums.per_token):.3f}"),
        ("byte_perplexity", f"{math.exp(loss / n_bytes):.3f}"),
        ("bits_per_byte", f"{loss / n_bytes / math.log(2):.4f}"),
        ("word_perplexity", f"{math.exp(loss / n_words):.3e}"),
        ("mean of the documents' perplexities", f"{of_documents:.3f}"),
    ]
    return ["The first line in other units:", "", *text_tables.markdown(("unit", ""), rows, "lr")]


def put(page: str, lines: Sequence[str]) -> str:
    """The page with its figures replaced."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return "\n".join([before + BEGIN, "", *lines, "", END]) + after
