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
from lengthgen.studies import figure, sections, study_folder
from lengthgen.studies.claims import of_study
from lengthgen.studies.study_folder import Row

STUDIES = "studies"  # folder of results/


def write(folder: Path) -> list[Path]:
    """summary.md and the figure of one study, from its tables. Returns the files."""
    about = files.read_json(folder / "study.json", {})
    tables = {name: study_folder.read(folder / f"{name}.csv") for name in study_folder.TABLES}
    values, title = tables["values"], f"{about['name']}: {about['meaning']}"
    with drawing.fixed_style():
        drawn = drawing.save(
            figure.draw(title, _details(values), values, about["show"], about["axis"]),
            folder / "values",
        )
    files.write_text(folder / "summary.md", "\n".join(_summary(about, tables)).rstrip() + "\n")
    return [folder / "summary.md", *drawn]


def write_all(results: Path) -> list[Path]:
    """Summaries and figures of every study, and the two files over all. Returns the files."""
    root = results / STUDIES
    folders = [path.parent for path in sorted(root.glob("*/claims.csv"))]
    if not folders:
        return []
    written = [path for folder in folders for path in write(folder)]
    rows = [row for folder in folders for row in study_folder.read(folder / "claims.csv")]
    files.write_table(root / "verdicts.csv", rows, study_folder.CLAIMS)
    files.write_text(root / "README.md", _overview(folders))
    return [*written, root / "verdicts.csv", root / "README.md"]


def word(claims: Sequence[Row]) -> str:
    """The study's verdict, which is that of its primary claims."""
    return of_study(row["verdict"] for row in claims if row["primary"])


def claim_lines(claims: Sequence[Row]) -> list[str]:
    """A Markdown table of claims."""
    lines = []
    for row in claims:
        subject = " − ".join(filter(None, (row["subject"], row["baseline"])))
        factor = row["length_factor"]
        at = f" at {factor:.3g} L" if factor == factor else ""
        lines.append(
            [
                row["claim"] if row["primary"] else f"{row['claim']} *(exploratory)*",
                f"{row['measure']} of {subject}{at}",
                row["predict"],
                sections.cell(row),
                f"**{row['verdict']}**" if row["primary"] else row["verdict"],
                text_tables.p_value(row["p"]),
                text_tables.number(row["detectable"]),
            ]
        )
    head = ["claim", "measure", "predicted", "found [95 % interval]", "verdict", "p", "detectable"]
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
                ", ".join(str(words.count(w)) for w in ("supported", "refuted", "undecided")),
            ]
        )
    counts = "primary claims: supported, refuted, undecided"
    return text_tables.markdown(["study", "what it asks", "verdict", counts], lines)


def _read(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    return files.read_json(folder / "study.json", {}), study_folder.read(folder / "claims.csv")


def _details(values: Sequence[Row]) -> str:
    seeds, documents = (
        text_tables.span({row[column] for row in values if row["status"] == "ok"})
        for column in ("n_seeds", "n_documents")
    )
    interval = "95 % intervals, two-way Student over seeds and documents"
    return f"{seeds} seeds, {documents} documents; bands: {interval}."


SUMMARY = """\
# {name}

{meaning}

{claim}

Verdict: **{word}** ({n_seeds} seeds; `{command}`).

![{show}](values.svg)

## Claims

Declared in `configs/study/{name}.yaml` before the runs. The {primary} primary claims decide the
verdict, at 0.05 together (Holm); p-values of the exploratory ones are adjusted for false
discoveries. L: the training length. detectable: the smallest true difference that so many seeds and
documents find with probability 0.8. Rules: `lengthgen/studies/claims.py`; measures:
`lengthgen/studies/measures.py`.

{claims}
"""


def _summary(about: Mapping[str, Any], tables: Mapping[str, Sequence[Row]]) -> list[str]:
    claims, values = tables["claims"], tables["values"]
    facts = {
        "word": word(claims),
        "n_seeds": text_tables.span({row["n_seeds"] for row in claims}),
        "primary": sum(row["primary"] for row in claims),
        "claims": "\n".join(claim_lines(claims)),
    }
    parts = [
        SUMMARY.format(**{**about, **facts}),
        *sections.repairs(tables["repairs"]),
        *sections.costs(tables["costs"], values),
        *sections.context(tables["context"]),
        *sections.orders(about.get("published", []), values),
        *sections.information(tables["information"]),
        *sections.key_tokens(tables["key_tokens"]),
    ]
    for protocol, measure in dict.fromkeys((row["protocol"], row["measure"]) for row in values):
        rows = [row for row in values if (row["protocol"], row["measure"]) == (protocol, measure)]
        title = f"## {measure.capitalize()} by evaluation length, {protocol}"
        parts += [title, "", f"nats/token; {_details(rows)}", ""]
        for train_length in dict.fromkeys(row["train_length"] for row in rows):
            same = [row for row in rows if row["train_length"] == train_length]
            parts += [*text_tables.by_length(same, lambda row: row["subject"], sections.cell), ""]
    return parts + _provenance(about)


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


def _overview(folders: Sequence[Path]) -> str:
    parts = [
        "# Studies",
        "",
        "Made by `lengthgen study NAME`, declared before the runs in configs/study/.",
        "",
        *verdict_lines(folders),
    ]
    for folder in folders:
        about, claims = _read(folder)
        parts += ["", f"## {folder.name}", "", about["claim"], "", *claim_lines(claims)]
    return "\n".join(parts) + "\n"
