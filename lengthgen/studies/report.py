"""The pages and figures of studies, and the table of all verdicts.

Read from the study's files alone: no torch, no runs. results/studies/ also holds verdicts.csv and
README.md over all studies.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lengthgen import files
from lengthgen.errors import DataError
from lengthgen.evaluation import seals
from lengthgen.reporting import text_tables
from lengthgen.reporting.figures import drawing
from lengthgen.reporting.figures.chosen import ALL, Chosen
from lengthgen.reporting.figures.look import PAGE, Look
from lengthgen.reporting.figures.sheet import Sheet
from lengthgen.studies import (
    bias_figure,
    claims_figure,
    costs_figure,
    crossings_section,
    figure,
    history,
    measures,
    page,
    panels,
    registration,
    sections,
    study_folder,
    verdict_tables,
)
from lengthgen.studies.claim_rows import role
from lengthgen.studies.claims import CHECK
from lengthgen.studies.parts import Figure
from lengthgen.studies.study_folder import Row
from lengthgen.terminal.progress import each

log = logging.getLogger(__name__)
Tables = dict[str, list[dict[str, Any]]]  # name -> rows
STUDIES = "studies"  # folder of results/
MARKS = ("claims.csv", seals.MANIFEST)  # a folder with one of them is a study's
BIAS = (
    "Every head of the first seed, over the distances of training, about its mean; the style is "
    "that of the form which explains most of it (constant: a standard deviation below 0.1 nats). "
    "Numbers: shares of the variance of all heads and seeds that a line, and a logarithm, explain."
)


def write(folder: Path) -> list[Path]:
    """summary.md and the figures of one study, from its tables. Returns the files.

    DataError if a table is not what the study wrote.
    """
    about, tables = read(folder)
    drawn = _draw(about, tables, folder, PAGE, ALL)
    files.write_text(folder / "summary.md", "\n".join(page.lines(about, tables)).rstrip() + "\n")
    seals.seal(folder, folder.name)
    return [folder / "summary.md", *drawn, folder / seals.MANIFEST]


def read(folder: Path) -> tuple[dict[str, Any], Tables]:
    """study.json and the tables of one study. DataError if a table is not what the study wrote."""
    study_folder.check(folder)
    about = files.read_json(folder / "study.json", {})
    return about, {name: study_folder.read(folder / f"{name}.csv") for name in study_folder.TABLES}


def draw(folder: Path, out: Path, look: Look = PAGE, chosen: Chosen = ALL) -> list[Path]:
    """The figures of one study into `out`. Returns the files. DataError as for `read`."""
    return _draw(*read(folder), out, look, chosen)


def _draw(
    about: Mapping[str, Any], tables: Tables, out: Path, look: Look, chosen: Chosen
) -> list[Path]:
    claims, title = tables["claims"], f"{about['name']}: {about['meaning']}"
    with drawing.fixed_style(look):
        decided = f"{_decided(about, claims)} {_explained(claims)}"
        sheets = {"claims": claims_figure.draw(title, decided, claims, look)}
        # Time was measured at one length; it is said beside every one.
        costs = Chosen(chosen.schemes).rows(tables["costs"])
        frontier = chosen.rows(tables["frontier"])
        if costs and frontier:
            sheets["costs"] = costs_figure.draw(title, costs, frontier, look)
        for stem, asked in page.figures(about).items():
            sheet = _values(about, tables, asked, look, chosen)
            if sheet:
                sheets[stem] = sheet
        return [
            path for stem, sheet in sheets.items() for path in drawing.save(sheet, out / stem, look)
        ]


def _values(
    about: Mapping[str, Any], tables: Tables, asked: Figure, look: Look, chosen: Chosen
) -> Sheet | None:
    """A figure of values that a study asks for; None where nothing of it is chosen."""
    said = f"{about['name']}: {asked.title or about['meaning']}"
    if asked.show == measures.BIAS:
        curves, heads = chosen.rows(tables["bias_curves"]), chosen.rows(tables["bias"])
        return bias_figure.draw(said, BIAS, curves, heads, look) if curves else None
    shown = study_folder.at_own_best(tables["values"])
    if asked.show == measures.DIFFERENCE:
        shown = crossings_section.drawn(tables["differences"], asked.baseline)
    shown = chosen.rows(shown)
    if chosen != ALL and not panels.split(shown, asked):
        return None
    return figure.draw(said, page.details(shown), shown, asked, tables["claims"], look)


def folders(results: Path) -> list[Path]:
    """Of the studies under results/studies/."""
    root = results / STUDIES
    return sorted({path.parent for path in root.glob("[!.]*/*") if path.name in MARKS})


def names_of(folder: Path) -> set[str]:
    """Arms, subjects and schemes of a study's values."""
    rows = study_folder.read(folder / "values.csv")
    subjects = {str(row["subject"]) for row in rows}
    return subjects | {s.partition("+")[0] for s in subjects} | {str(r["scheme"]) for r in rows}


def write_all(results: Path, on_fault: Callable[[str], None] = log.warning) -> list[Path]:
    """Summaries and figures of every study, and the two files over all. Returns the files.

    on_fault: gets a line for each study that is damaged; with one, the files over all stay.
    """
    root, found = results / STUDIES, folders(results)
    written, damaged = [], False
    for folder in each("studies", found, len(found)):
        try:
            written += write(folder)
        except DataError as error:
            damaged = True
            on_fault(str(error))
    if damaged or not found:
        return written
    rows = [row for folder in found for row in study_folder.read(folder / "claims.csv")]
    rows = study_folder.whole(rows, study_folder.CLAIMS)
    files.write_table(root / "verdicts.csv", rows, study_folder.CLAIMS)
    files.write_text(root / "README.md", _overview(root, found))
    return [*written, root / "verdicts.csv", root / "README.md"]


def _decided(about: Mapping[str, Any], claims: Sequence[Row]) -> str:
    """The verdict in a sentence."""
    kind = "Check of the instrument" if about.get("check") else "Verdict"
    return f"{kind}: {verdict_tables.word(claims)}, {history.sentence(about)}."


def _explained(claims: Sequence[Row]) -> str:
    seeds = text_tables.span({row["n_seeds"] for row in claims})
    text = (
        f"{seeds} seeds. Points with 95 % intervals over seeds and documents (two-way Student). "
        "Each row has a scale of its own: its right end is the number printed there."
    )
    if any(row.get("common_verdict") for row in claims):
        text += " Solid: each arm's own best learning rate; dashed: the common one."
    return text


def _overview(root: Path, folders: Sequence[Path]) -> str:
    asked = verdict_tables.of_the_world(folders)
    checks = [folder for folder in folders if folder not in asked]
    parts = [
        "# Studies",
        "",
        "Made by `lengthgen study NAME` from what configs/study/ declares.",
        "",
        *verdict_tables.of_studies(asked),
        "",
    ]
    if checks:
        parts += ["## Checks of the instrument", "", *verdict_tables.of_studies(checks), ""]
    parts += sections.log(
        registration.all_of(root.parent), [verdict_tables.read(each)[0] for each in folders]
    )
    for folder in folders:
        about, claims = verdict_tables.read(folder)
        declared = history.sentence(about)
        parts += ["", f"## {folder.name}", "", about["claim"], ""]
        parts += [f"{declared[0].upper()}{declared[1:]}.", ""]
        evidence = [row for row in claims if role(row) != CHECK]
        parts += verdict_tables.of_claims(evidence)
        checked = [row for row in claims if role(row) == CHECK]
        parts += (
            ["", "Checks of the instrument:", "", *verdict_tables.of_claims(checked)]
            if checked
            else []
        )
    return "\n".join(parts) + "\n"
