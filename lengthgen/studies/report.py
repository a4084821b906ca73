"""A study as a page: summary.md and the figure of each, and the table of all verdicts.

Read from the study's files alone: no torch, no runs. results/studies/ also holds verdicts.csv and
README.md over all studies.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lengthgen import files
from lengthgen.reporting import text_tables
from lengthgen.reporting.figures import drawing
from lengthgen.studies import (
    bias_figure,
    bias_section,
    claims_figure,
    costs_figure,
    costs_section,
    crossings_section,
    exposure_section,
    figure,
    history,
    measures,
    orders,
    panels,
    registration,
    sections,
    study_folder,
)
from lengthgen.studies.claims import CHECK, EXPLORATORY, WORDS, of_study
from lengthgen.studies.claims_figure import role
from lengthgen.studies.parts import Figure
from lengthgen.studies.study_folder import Row

STUDIES = "studies"  # folder of results/
BIAS = (
    "Every head of the first seed, over the distances of training, about its mean; the style is "
    "that of the form which explains most of it (constant: a standard deviation below 0.1 nats). "
    "Numbers: shares of the variance of all heads and seeds that a line, and a logarithm, explain."
)


def write(folder: Path) -> list[Path]:
    """summary.md and the figures of one study, from its tables. Returns the files."""
    about = files.read_json(folder / "study.json", {})
    tables = {name: study_folder.read(folder / f"{name}.csv") for name in study_folder.TABLES}
    claims, title = tables["claims"], f"{about['name']}: {about['meaning']}"
    values = study_folder.at_own_best(tables["values"])
    with drawing.fixed_style():
        decided = f"{_decided(about, claims)} {_explained(claims)}"
        drawn = drawing.save(claims_figure.draw(title, decided, claims), folder / "claims")
        if tables["frontier"]:
            made = costs_figure.draw(title, tables["costs"], tables["frontier"])
            drawn += drawing.save(made, folder / "costs")
        for stem, asked in figures(about).items():
            said = f"{about['name']}: {asked.title or about['meaning']}"
            if asked.show == measures.BIAS:
                made = bias_figure.draw(said, BIAS, tables["bias_curves"], tables["bias"])
            else:
                shown = values
                if asked.show == measures.DIFFERENCE:
                    shown = crossings_section.drawn(tables["differences"], asked.baseline)
                made = figure.draw(said, _details(shown), shown, asked, claims)
            drawn += drawing.save(made, folder / stem)
    files.write_text(folder / "summary.md", "\n".join(_summary(about, tables)).rstrip() + "\n")
    return [folder / "summary.md", *drawn]


def figures(about: Mapping[str, Any]) -> dict[str, Figure]:
    """File name -> the figure of values that a study asks for: values, values_2, ..."""
    asked = [Figure(**options) for options in about.get("figures") or ()]
    asked = asked or [Figure(show=about["show"], axis=about["axis"])]
    return {f"values_{i}" if i > 1 else "values": one for i, one in enumerate(asked, start=1)}


def write_all(results: Path) -> list[Path]:
    """Summaries and figures of every study, and the two files over all. Returns the files."""
    root = results / STUDIES
    folders = [path.parent for path in sorted(root.glob("*/claims.csv"))]
    if not folders:
        return []
    written = [path for folder in folders for path in write(folder)]
    rows = [row for folder in folders for row in study_folder.read(folder / "claims.csv")]
    rows = study_folder.whole(rows, study_folder.CLAIMS)
    files.write_table(root / "verdicts.csv", rows, study_folder.CLAIMS)
    files.write_text(root / "README.md", _overview(root, folders))
    return [*written, root / "verdicts.csv", root / "README.md"]


def word(claims: Sequence[Row]) -> str:
    """The study's verdict, which is that of its primary claims."""
    return of_study(row["verdict"] for row in claims if row["primary"])


def claim_lines(claims: Sequence[Row]) -> list[str]:
    """A Markdown table of claims."""
    at_rates = any(claim.get("common_verdict") for claim in claims)
    lines = []
    for row in claims:
        subject = " − ".join(filter(None, (row["subject"], row["baseline"])))
        factor = row["length_factor"]
        at = f" at {factor:.3g} L" if factor == factor else ""
        protocol = f", {row['protocol']}" if row.get("protocol") else ""
        common = {
            name: row.get(f"common_{name}", float("nan")) for name in ("value", "low", "high")
        }
        reason = f": {row['reason']}" if row.get("reason") else ""
        lines.append(
            [
                f"{row['claim']} *(exploratory)*" if role(row) == EXPLORATORY else row["claim"],
                f"{row['measure']} of {subject}{at}{protocol}",
                row["predict"],
                sections.cell(row),
                *([sections.cell(common)] if at_rates else []),
                (f"**{row['verdict']}**" if row["primary"] else row["verdict"]) + reason,
                text_tables.p_value(row["p"]),
                text_tables.number(row["detectable"]),
            ]
        )
    found = ["found [95 % interval]"]
    if at_rates:
        found = ["found at own best rates [95 % interval]", "at the common rate"]
    head = ["claim", "measure", "predicted", *found, "verdict", "p", "detectable"]
    return text_tables.markdown(head, lines)


def verdict_lines(folders: Sequence[Path], where: str = "") -> list[str]:
    """A Markdown table of studies. where: what precedes a study's folder in a link."""
    lines = []
    for folder in folders:
        about, claims = _read(folder)
        words = [row["verdict"] for row in claims if row["primary"]]
        lines.append(
            [
                f"[{folder.name}]({where}{folder.name}/summary.md)",
                about["meaning"],
                f"**{word(claims)}**",
                ", ".join(str(words.count(word)) for word in WORDS),
            ]
        )
    counts = f"primary claims: {', '.join(WORDS)}"
    return text_tables.markdown(["study", "what it asks", "verdict", counts], lines)


def of_the_world(folders: Sequence[Path]) -> list[Path]:
    """Without the studies that check the instrument."""
    return [folder for folder in folders if not _read(folder)[0].get("check")]


def _read(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    return files.read_json(folder / "study.json", {}), study_folder.read(folder / "claims.csv")


def _measured(row: Row) -> bool:
    return row["status"] == "ok" and row["measure"] not in panels.NOTES


def _details(values: Sequence[Row]) -> str:
    seeds, documents = (
        text_tables.span({row[column] for row in values if _measured(row)})
        for column in ("n_seeds", "n_documents")
    )
    interval = "95 % intervals, two-way Student over seeds and documents"
    return f"{seeds} seeds, {documents} documents; bands: {interval}."


def _decided(about: Mapping[str, Any], claims: Sequence[Row]) -> str:
    """The verdict in a sentence."""
    kind = "Check of the instrument" if about.get("check") else "Verdict"
    return f"{kind}: {word(claims)}, {history.sentence(about)}."


def _explained(claims: Sequence[Row]) -> str:
    seeds = text_tables.span({row["n_seeds"] for row in claims})
    text = (
        f"{seeds} seeds. Points with 95 % intervals over seeds and documents (two-way Student). "
        "Each row has a scale of its own: its right end is the number printed there."
    )
    if any(row.get("common_verdict") for row in claims):
        text += " Solid: each arm's own best learning rate; dashed: the common one."
    return text


SUMMARY = """\
# {name}

{meaning}

{claim}

{verdict}: **{word}**, {declared} ({n_seeds} seeds; `{command}`).

![What was claimed, what was found, and the verdicts](claims.svg)

{figures}

## {claims_title}

{primary} primary claims decide the verdict, at 0.05 together (Holm); p-values of the exploratory
ones are adjusted for false discoveries. L: the training length. detectable: the smallest true
difference that so many seeds and documents find with probability 0.8. Rules:
`lengthgen/studies/claims.py`; preconditions: `lengthgen/studies/preconditions.py`; measures:
`lengthgen/studies/measures.py`. Declaration: `configs/study/{name}.yaml`.

{claims}
"""


def _summary(about: Mapping[str, Any], tables: Mapping[str, Sequence[Row]]) -> list[str]:
    claims, values = tables["claims"], study_folder.at_own_best(tables["values"])
    evidence = [row for row in claims if role(row) != CHECK]
    facts = {
        "word": word(claims),
        "verdict": "Check of the instrument" if about.get("check") else "Verdict",
        "claims_title": "What is checked" if about.get("check") else "Claims",
        "figures": "\n\n".join(
            f"![{text}]({stem}.svg)" for stem, text in _pictures(about, tables).items()
        ),
        "declared": history.sentence(about),
        "n_seeds": text_tables.span({row["n_seeds"] for row in claims}),
        "primary": sum(row["primary"] for row in claims),
        "claims": "\n".join(claim_lines(evidence)),
    }
    parts = [
        SUMMARY.format(**{**about, **facts}),
        *sections.checks(claim_lines([row for row in claims if role(row) == CHECK])),
        *sections.rates(tables["rates"]),
        *bias_section.lines(tables["bias"]),
        *sections.repairs(tables["repairs"]),
        *costs_section.lines(tables["costs"], tables["frontier"], values),
        *crossings_section.lines(tables["differences"]),
        *exposure_section.lines(tables["exposure"]),
        *sections.context(tables["context"]),
        *orders.lines(orders.rows(about.get("published", []), values)),
        *sections.information(tables["information"]),
        *sections.key_tokens(tables["key_tokens"]),
    ]
    for protocol, measure in dict.fromkeys((row["protocol"], row["measure"]) for row in values):
        if measure in panels.NOTES:
            continue
        shown = {measure, *(panels.NOTES if measure == "loss" else ())}
        rows = [
            row
            for row in tables["values"]
            if row["protocol"] == protocol and row["measure"] in shown
        ]
        title = f"## {measure.capitalize()} by evaluation length, {protocol}"
        parts += [title, "", f"nats/token; {_details(rows)}", ""]
        for train_length in dict.fromkeys(row["train_length"] for row in rows):
            same = [row for row in rows if row["train_length"] == train_length]
            parts += [*text_tables.by_length(same, _named, sections.cell), ""]
    return [*parts, *sections.earlier(tables["earlier"]), *_provenance(about)]


def _pictures(about: Mapping[str, Any], tables: Mapping[str, Sequence[Row]]) -> dict[str, str]:
    """File name -> what it shows, after the figure of claims."""
    costs = {"costs": "Loss, time and what must be kept"} if tables["frontier"] else {}
    asked = figures(about).items()
    return costs | {stem: one.title or f"{one.show} by {one.axis}" for stem, one in asked}


def _named(row: Row) -> str:
    """A subject, and at which point of a grid; a floor, and of which data."""
    if row["measure"] in panels.NOTES:
        return f"{panels.NOTES[row['measure']]} ({row['dataset']})"
    return f"{row['subject']} ({row['point']})" if row.get("point") else row["subject"]


def _provenance(about: Mapping[str, Any]) -> list[str]:
    parts = ["## How it was made", "", f"`{about['command']}`", ""]
    for key in ("commits", "devices", "threads"):
        values = ", ".join(f"`{value}`" for value in about.get(key, []))
        parts += [f"{key.capitalize()}: {values}.", ""]
    parts += ["Each run by itself, for `seed=0`, `1`, ...:", ""]
    for arm, overrides in about["arms"].items():
        parts.append(f"- {arm}: `lengthgen train {' '.join(overrides)}`")
    for name, overrides in about["conditions"].items():
        parts.append(f"- +{name}: `lengthgen evaluate run=ID {' '.join(overrides)}`")
    return parts


def _overview(root: Path, folders: Sequence[Path]) -> str:
    asked = of_the_world(folders)
    checks = [folder for folder in folders if folder not in asked]
    parts = [
        "# Studies",
        "",
        "Made by `lengthgen study NAME` from what configs/study/ declares.",
        "",
        *verdict_lines(asked),
        "",
    ]
    if checks:
        parts += ["## Checks of the instrument", "", *verdict_lines(checks), ""]
    parts += sections.log(registration.all_of(root.parent), [_read(each)[0] for each in folders])
    for folder in folders:
        about, claims = _read(folder)
        declared = history.sentence(about)
        parts += ["", f"## {folder.name}", "", about["claim"], ""]
        parts += [f"{declared[0].upper()}{declared[1:]}.", ""]
        evidence = [row for row in claims if role(row) != CHECK]
        parts += claim_lines(evidence)
        checked = [row for row in claims if role(row) == CHECK]
        parts += ["", "Checks of the instrument:", "", *claim_lines(checked)] if checked else []
    return "\n".join(parts) + "\n"
