"""Tables -> figures and pages: of one run, of all runs, and of published folders.

Needs results/ alone: no torch, no data, no account. Figures are byte-stable: the same tables give
the same PNG and SVG, so regenerating them leaves an empty diff.
"""

import logging
import re
from pathlib import Path

import pandas as pd

from lengthgen import files
from lengthgen.errors import ConfigError, DataError
from lengthgen.evaluation import records, seals, selection
from lengthgen.evaluation.selection import Where
from lengthgen.reporting import (
    detectable,
    drawn,
    publication,
    published_folder,
    references,
    tables,
    verdict_section,
    verdicts,
)
from lengthgen.reporting import summary as page
from lengthgen.reporting.drawn import OnFault
from lengthgen.reporting.figures.chosen import ALL
from lengthgen.reporting.figures.look import PAGE
from lengthgen.reporting.published_folder import Published
from lengthgen.terminal.progress import each

log = logging.getLogger(__name__)
HOUR = 3600.0  # seconds: no writer takes so long for a file
FIGURES = ("loss_by_length", "loss_by_position", "exact_match_by_length", "fails_or_uses")


def write_run_figures(run_folder: Path | str, settings: str | None = None) -> list[Path]:
    """The figures of one run into its figures/, from its finished evaluations. Returns the files.

    One set for each evaluation's settings (`settings`: these alone), a line for each retrofit.
    """
    run = records.run(Path(run_folder))
    measured = tables.read_evaluations(run.evaluations)
    if settings is not None:
        measured = tables.select(measured, {"evaluation": [settings]})
    # The weights of the last step alone, not those that were kept on the way.
    if "steps" in run.config:
        measured = tables.select(measured, {"steps": [str(run.config["steps"])]})
    summary, written = tables.summarise(measured.documents, measured.lengths), []
    for evaluation, rows in summary.groupby("evaluation", sort=True):
        bins = measured.positions[measured.positions["evaluation"] == evaluation]
        written += drawn.curves(rows, bins, run.folder / "figures" / f"{evaluation}-")
    return written


def write_figures(results: Path | str, on_fault: OnFault = log.warning) -> list[Path]:
    """Every figure: over all runs into results/figures/, and of published folders. Returns them.

    on_fault: gets a line for each run or folder that is damaged; the others are drawn.
    """
    results = Path(results)
    written = drawn.of_runs(results, results / "figures", PAGE, ALL, on_fault)
    folders = tables.published(results)
    for folder in each("published folders", folders, len(folders)):
        try:
            written += write_published(folder)
        except DataError as error:
            on_fault(str(error))
    return written


def write_published(folder: Path) -> list[Path]:
    """All of a published folder that follows from its tables, as the summary. Returns the files.

    DataError if a table or provenance.json is not what was published.
    """
    published = published_folder.read(folder)
    return _write_published(folder, published, tables.write_summary(published.tables, folder))


def _write_published(folder: Path, published: Published, summary: pd.DataFrame) -> list[Path]:
    measured, note = published.tables, published.note
    groups = list(drawn.groups(summary, measured.positions))
    verdict_rows = verdicts.table(measured.documents, summary, note, published.references)
    power = detectable.table(measured.documents, summary)
    written = []
    for (_, rows, bins), prefix in zip(groups, drawn.prefixes(groups), strict=True):
        of_group = verdicts.of_group(verdict_rows, tables.as_rows(rows)[0])
        remark = verdict_section.cannot_support(verdicts.refused(of_group))
        written += drawn.curves(rows, bins, folder / prefix, remark)
        written += drawn.verdict(of_group, rows, folder / prefix)
    text = page.summary([rows for _, rows, _ in groups], note, verdict_rows, power)
    files.write_text(folder / "summary.md", text)
    written = [
        folder / "summary.csv",
        *verdicts.write(verdict_rows, folder),
        *detectable.write(power, folder),
        *written,
        folder / "summary.md",
    ]
    # Figures of an earlier publication under the same name.
    for old in (path for figure in FIGURES for path in folder.glob(f"*{figure}*.[ps][nv]g")):
        if old not in written:
            files.remove(old)
    seals.seal(folder, folder.name)
    return [*written, folder / seals.MANIFEST]


def publish(
    results: Path | str,
    name: str,
    where: Where,
    text: str = "",
    references_where: Where | None = None,
) -> list[Path]:
    """Tables, figures and provenance of the chosen runs into results/<name>/. Returns the files.

    references_where: the runs that show what can be gained from longer input (references.py).
    ConfigError if no run is chosen. DataError if one of them is damaged.
    """
    results = Path(results)
    reserved = ("runs", "figures", "sweeps")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or name in reserved:
        raise ConfigError(
            f"--publish {name!r} cannot name a folder of results; expected letters, digits, - and "
            f"_, and not {', '.join(reserved)}"
        )
    collected, runs = tables.collect(results), records.runs(results)
    measured = _choose(collected, where, results)
    folder = results / name
    files.remove_leftovers(folder / "*", older_than=HOUR)
    origin = publication.provenance(runs, measured.lengths)
    note = {"note": text, "where": _sorted(where)} | origin
    reference_rows = None
    if references_where:
        chosen = _choose(collected, references_where, results)
        reference_rows = references.gather(chosen, measured, note, runs)
        members = chosen.lengths["run"].isin(reference_rows["run"])
        origin = publication.provenance(runs, chosen.lengths[members])
        kept = {key: origin[key] for key in ("commands", "commits", "runs")}
        note["references"] = {"where": _sorted(references_where)} | kept
    summary = tables.publish(measured, folder, note)
    written = references.write(reference_rows, folder)
    # As `lengthgen plot` will read them.
    note = files.read_json(folder / "provenance.json", {})
    published = Published(measured, note, references.read(folder))
    written += _write_published(folder, published, summary)
    tables_written = (folder / f"{table}.csv" for table in records.TABLES)
    return [*tables_written, folder / "provenance.json", *written]


def _choose(collected: tables.Tables, where: Where, results: Path) -> tables.Tables:
    chosen = tables.select(collected, where)
    _refuse_damaged(chosen, where)
    if chosen.lengths.empty:
        raise ConfigError(
            f"no finished evaluation under {results / 'runs'} matches "
            f"{selection.described(where)}; see `lengthgen list runs`"
        )
    return chosen


def _refuse_damaged(chosen: tables.Tables, where: Where) -> None:
    """DataError if a run that was chosen is damaged, or an evaluation that may be one of them."""
    if found := tables.faults_of(chosen, where):
        others = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise DataError(f"{found[0].line}{others}; nothing was published")


def _sorted(where: Where) -> dict[str, list[str]]:
    return {key: list(values) for key, values in sorted(where.items())}
