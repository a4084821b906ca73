"""Tables -> the figures of a group of rows, and all figures in the look that somebody asks for."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from lengthgen.errors import DataError
from lengthgen.reporting import published_folder, tables, verdict_section, verdicts
from lengthgen.reporting.figures import by_length, by_position, drawing, palette, verdict_figure
from lengthgen.reporting.figures.chosen import ALL, Chosen
from lengthgen.reporting.figures.look import PAGE, Look
from lengthgen.terminal.progress import each

OnFault = Callable[[str], None]  # gets one line
Group = tuple[str, pd.DataFrame, pd.DataFrame]  # file stem, summary rows, position rows


def groups(summary: pd.DataFrame, positions: pd.DataFrame) -> Iterator[Group]:
    """Each group whose rows may share a figure."""
    for key, rows in summary.groupby(list(tables.GROUP), sort=True):
        dataset, model, train_length, steps, setting, evaluation = key
        stem = f"{dataset}-{model}-{train_length}-{steps}steps-{setting}-{evaluation}"
        bins = verdicts.of_group(positions, tables.as_rows(rows)[0])
        yield re.sub(r"[^A-Za-z0-9._-]+", "_", stem), rows, bins


def prefixes(found: list[Group]) -> list[str]:
    """Of a folder's groups' files: without hashes, where that still tells the groups apart."""
    if len(found) == 1:
        return [""]
    short = [stem.rsplit("-", 2)[0] for stem, _, _ in found]
    return [
        f"{name if short.count(name) == 1 else stem}-"
        for (stem, _, _), name in zip(found, short, strict=True)
    ]


def curves(
    summary: pd.DataFrame,
    positions: pd.DataFrame,
    stem: Path,
    remark: str = "",
    look: Look = PAGE,
    chosen: Chosen = ALL,
) -> list[Path]:
    """Curves, if few enough to tell apart. remark: under the title of the matched losses.

    stem: folder and beginning of the files' names.
    """
    summary, positions = chosen.table(summary), chosen.table(positions)
    if summary["scheme"].nunique() > palette.DISTINCT:
        return []
    written = []
    with drawing.fixed_style(look):
        by_protocol = list(summary.groupby("protocol", sort=True))
        for protocol, rows in each("figures", by_protocol, len(by_protocol)):
            if protocol == "shuffled":  # one length: no curve
                continue
            matched = protocol == "matched"
            name = "loss_by_length" if matched else f"loss_by_length_{protocol}"
            figure = by_length.loss_by_length(rows, remark if matched else "", look)
            written += drawing.save(figure, _beside(stem, name), look)
            if rows["exact_match"].notna().any():
                figure = by_length.exact_match_by_length(rows, look)
                written += drawing.save(figure, _beside(stem, "exact_match_by_length"), look)
        if positions["value"].notna().any():
            bins = tables.positions_over_seeds(positions)
            figure = by_position.loss_by_position(bins, summary, look)
            written += drawing.save(figure, _beside(stem, "loss_by_position"), look)
    return written


def verdict(
    verdict_rows: pd.DataFrame,
    rows: pd.DataFrame,
    stem: Path,
    look: Look = PAGE,
    chosen: Chosen = ALL,
) -> list[Path]:
    """None where no length beyond training has a value. rows: the same group's summary."""
    verdict_rows = chosen.table(verdict_rows)
    if verdict_rows.empty or verdict_rows["failure"].isna().all():
        return []
    n_tokens = int(rows.loc[rows["protocol"] == "matched", "n_tokens"].max())
    with drawing.fixed_style(look):
        figure = verdict_figure.draw(verdict_rows, n_tokens, look)
        return drawing.save(figure, _beside(stem, "fails_or_uses"), look)


def of_runs(results: Path, out: Path, look: Look, chosen: Chosen, on_fault: OnFault) -> list[Path]:
    """The curves over all finished runs, into `out`. Returns the files.

    on_fault: gets a line for each run that is damaged.
    """
    measured = tables.collect(results)
    for fault in measured.faults:
        on_fault(fault.line)
    summary, written = tables.summarise(measured.documents, measured.lengths), []
    found = list(groups(summary, measured.positions))
    for stem, rows, bins in each("groups of runs", found, len(found)):
        written += curves(rows, bins, out / f"{stem}-", look=look, chosen=chosen)
    return written


def of_published(folder: Path, out: Path, look: Look, chosen: Chosen) -> list[Path]:
    """The figures of a published folder into `out`; the folder stays as it is. Returns the files.

    DataError if a table or provenance.json is not what was published.
    """
    published = published_folder.read(folder)
    measured = published.tables
    summary = tables.summarise(measured.documents, measured.lengths)
    verdict_rows = verdicts.table(measured.documents, summary, published.note, published.references)
    found, written = list(groups(summary, measured.positions)), []
    for (_, rows, bins), prefix in zip(found, prefixes(found), strict=True):
        of_group = verdicts.of_group(verdict_rows, tables.as_rows(rows)[0])
        remark = verdict_section.cannot_support(verdicts.refused(of_group))
        written += curves(rows, bins, out / prefix, remark, look, chosen)
        written += verdict(of_group, rows, out / prefix, look, chosen)
    return written


def schemes_of(folder: Path) -> set[str]:
    """The labels in the tables of a published folder; none where they cannot be read."""
    try:
        return set(tables.read_evaluations([folder]).lengths["scheme"])
    except DataError:
        return set()


def _beside(stem: Path, name: str) -> Path:
    """`stem` may end in the beginning of a file's name, which ends in -."""
    return stem.with_name(stem.name + name) if stem.name.endswith("-") else stem / name
