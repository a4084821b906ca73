"""Tables -> figures and pages, of a run, of all runs and of a published folder. Needs results/ alone: no torch, no data, no account.

Figures are byte-stable: the same tables give the same PNG and SVG, so "regenerate" leaves an empty diff.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lengthgen import files
from lengthgen.errors import ConfigError
from lengthgen.evaluation import records
from lengthgen.reporting import detectable, publication, references, tables, verdicts
from lengthgen.reporting import summary as markdown
from lengthgen.reporting.figures import curves, drawing, palette, verdict_figure

Where = Mapping[str, Sequence[str]]  # identity column -> the values that are chosen
FIGURES = (
    "loss_by_length", "loss_by_length_nonoverlapping", "loss_by_length_hard_window", "loss_by_length_whole", "loss_by_length_sliding",
    "loss_by_length_last_k", "loss_by_position", "exact_match_by_length", "fails_or_uses",
)  # fmt: skip


def write_run_figures(run_folder: Path | str, settings: str | None = None) -> list[Path]:
    """The figures of one run into its figures/, from the tables of its finished evaluations. Returns the files.

    One set for each evaluation's settings, with the run as it was trained and every retrofit as a line. settings: these alone.
    """
    run = records.run(Path(run_folder))
    found = tables.read_evaluations(run.evaluations)
    if settings is not None:
        found = tables.select(found, {"evaluation": [settings]})
    written = []
    for evaluation, rows in tables.summarise(found.documents, found.lengths).groupby(
        "evaluation", sort=True
    ):
        positions = found.positions[found.positions["evaluation"] == evaluation]
        written += _write_group(rows, positions, run.folder / "figures", f"{evaluation}-")
    return written


def write_figures(results: Path | str) -> list[Path]:
    """Every figure again: over all runs into results/figures/, and those of each published folder in place. Returns the files."""
    results = Path(results)
    found = tables.collect(results)
    written = []
    for stem, summary, positions in _groups(
        tables.summarise(found.documents, found.lengths), found.positions
    ):
        written += _write_group(summary, positions, results / "figures", f"{stem}-")
    for folder in tables.published(results):
        written += write_published(folder)
    return written


def write_published(folder: Path) -> list[Path]:
    """summary.csv, verdicts.csv, power.csv, summary.md and the figures of one published folder, from its tables alone. Returns the files.

    The summary is made anew like the rest, so that its intervals are those that the labels say.
    """
    found = tables.Tables(
        **{
            name: tables.read_table(folder / f"{name}.csv", columns)
            for name, columns in records.TABLES.items()
        }
    )
    return _write_published(folder, found, tables.write_summary(found, folder))


def _write_published(folder: Path, found: tables.Tables, summary: pd.DataFrame) -> list[Path]:
    groups = list(_groups(summary, found.positions))
    short = [
        stem.rsplit("-", 2)[0] for stem, _, _ in groups
    ]  # without the hashes, where that tells the groups apart
    note = files.read_json(folder / "provenance.json", {})
    said = verdicts.table(found.documents, summary, note, references.read(folder))
    seen = detectable.table(found.documents, summary)
    written = []
    for (stem, rows, bins), name in zip(groups, short, strict=True):
        prefix = "" if len(groups) == 1 else f"{name}-" if short.count(name) == 1 else f"{stem}-"
        refused = verdicts.refused(verdicts.of_group(said, rows.iloc[0]))
        written += _write_group(rows, bins, folder, prefix, markdown.cannot_support(refused))
        written += _write_answers(
            verdicts.of_group(said, rows.iloc[0]), rows, folder / f"{prefix}fails_or_uses"
        )
    files.write_text(
        folder / "summary.md", markdown.summary([rows for _, rows, _ in groups], note, said, seen)
    )
    return [
        folder / "summary.csv",
        *verdicts.write(said, folder),
        *detectable.write(seen, folder),
        *written,
        folder / "summary.md",
    ]


def _write_answers(said: pd.DataFrame, rows: pd.DataFrame, stem: Path) -> list[Path]:
    """The figure of one group's verdicts; none where no length beyond training has one."""
    if said.empty or said["failure"].isna().all():
        return []
    with drawing.fixed_style():
        return drawing.save(
            verdict_figure.draw(
                said, int(rows.loc[rows["protocol"] == "matched", "n_tokens"].max())
            ),
            stem,
        )


def publish(
    results: Path | str,
    name: str,
    where: Mapping[str, Sequence[str]],
    text: str = "",
    references_where: Where | None = None,
) -> list[Path]:
    """Tables, figures and provenance of the chosen runs into results/<name>/. Returns the files. ConfigError if there are none.

    references_where: chooses the runs that say what there is to be gained by longer input (references.py).
    """
    results = Path(results)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or name in (
        "runs",
        "figures",
        "sweeps",
    ):
        raise ConfigError(
            f"--publish {name!r} cannot name a folder of results; expected letters, digits, - and _, not runs or figures"
        )
    collected, runs = tables.collect(results), records.runs(results)
    found, made = _chosen(collected, runs, where, results)
    folder = results / name
    note = {"note": text, "where": _sorted(where)} | made
    reference_rows = None
    if references_where:
        chosen, _ = _chosen(collected, runs, references_where, results)
        reference_rows = references.gather(chosen, found, note, runs)
        members = set(reference_rows["run"])
        made = publication.provenance((run for run in runs if run.name in members), chosen.lengths)
        note |= {
            "references": {"where": _sorted(references_where)}
            | {key: made[key] for key in ("commands", "commits", "runs")}
        }
    summary = tables.publish(found, folder, note)
    written = [*references.write(reference_rows, folder), *_write_published(folder, found, summary)]
    for figure in FIGURES:  # of an earlier publication under the same name
        for old in (*folder.glob(f"*{figure}.png"), *folder.glob(f"*{figure}.svg")):
            if old not in written:
                old.unlink()
    return [
        *(folder / f"{table}.csv" for table in records.TABLES),
        folder / "provenance.json",
        *written,
    ]


def _chosen(
    collected: tables.Tables, runs: Sequence[records.RunFolder], where: Where, results: Path
) -> tuple[tables.Tables, dict[str, Any]]:
    """The tables of the evaluations that `where` chooses, and what made them."""
    found = tables.select(collected, where)
    if found.lengths.empty:
        chosen = (
            " ".join(f"{key}={','.join(values)}" for key, values in where.items()) or "anything"
        )
        raise ConfigError(
            f"no finished evaluation under {results / 'runs'} matches {chosen}; see `lengthgen list runs`"
        )
    members = set(found.lengths["run"])
    return found, publication.provenance(
        (run for run in runs if run.name in members), found.lengths
    )


def _sorted(where: Where) -> dict[str, list[str]]:
    return {key: list(values) for key, values in sorted(where.items())}


def _groups(
    summary: pd.DataFrame, positions: pd.DataFrame
) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """(file stem, summary rows, position rows) of each group whose rows may share a figure, in a fixed order."""
    for key, rows in summary.groupby(list(tables.GROUP), sort=True):
        bins = positions
        for column, value in zip(tables.GROUP, key, strict=True):
            bins = bins[bins[column] == value]
        dataset, model, train_length, steps, setting, evaluation = key
        stem = f"{dataset}-{model}-{train_length}-{steps}steps-{setting}-{evaluation}"
        yield re.sub(r"[^A-Za-z0-9._-]+", "_", stem), rows, bins


def _write_group(
    summary: pd.DataFrame, positions: pd.DataFrame, folder: Path, prefix: str, remark: str = ""
) -> list[Path]:
    """Curves, where there are few enough to be told apart. remark: under the title of the matched losses."""
    if summary["scheme"].nunique() > palette.DISTINCT:
        return []
    written = []
    with drawing.fixed_style():
        for protocol, rows in summary.groupby("protocol", sort=True):
            name = "loss_by_length" + ("" if protocol == "matched" else f"_{protocol}")
            figure = curves.loss_by_length(rows, remark if protocol == "matched" else "")
            written += drawing.save(figure, folder / f"{prefix}{name}")
            if rows["exact_match"].notna().any():
                written += drawing.save(
                    curves.exact_match_by_length(rows), folder / f"{prefix}exact_match_by_length"
                )
        if positions["value"].notna().any():
            figure = curves.loss_by_position(tables.positions_over_seeds(positions), summary)
            written += drawing.save(figure, folder / f"{prefix}loss_by_position")
    return written
