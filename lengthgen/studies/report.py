"""What a study says, in words: summary.md of one study, and the table of all verdicts. From its files alone; no torch, no runs.

Shape of results/studies/: NAME/summary.md beside the tables (tables.py) and the figure; verdicts.csv and README.md over all of them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lengthgen import files
from lengthgen.reporting import text_tables
from lengthgen.reporting.figures import drawing
from lengthgen.studies import figure, markdown, sections, study_folder
from lengthgen.studies.claims import of_study

Row = Mapping[str, str]
STUDIES = "studies"  # folder of results/


def write(folder: Path) -> list[Path]:
    """summary.md and the figure of one study from its tables. Returns the files."""
    about = files.read_json(folder / "study.json", {})
    found = {name: study_folder.read(folder / f"{name}.csv") for name in study_folder.TABLES}
    values = found["values"]
    with drawing.fixed_style():
        drawn = drawing.save(
            figure.draw(_title(about), _details(values), values, about["show"], about["axis"]),
            folder / "values",
        )
    files.write_text(folder / "summary.md", "\n".join(_summary(about, found)).rstrip() + "\n")
    return [folder / "summary.md", *drawn]


def write_all(results: Path) -> list[Path]:
    """The summaries and figures of every study under results/studies, and verdicts.csv and README.md over all. Returns the files."""
    root = results / STUDIES
    folders = [path.parent for path in sorted(root.glob("*/claims.csv"))]
    if not folders:
        return []
    written = [path for folder in folders for path in write(folder)]
    rows = [dict(row) for folder in folders for row in study_folder.read(folder / "claims.csv")]
    files.write_table(root / "verdicts.csv", rows, study_folder.CLAIMS)
    files.write_text(root / "README.md", _all(folders))
    return [*written, root / "verdicts.csv", root / "README.md"]


def word(claims: Sequence[Row]) -> str:
    """The study's verdict, of its primary claims."""
    return of_study(row["verdict"] for row in claims if row["primary"] == "True")


def claim_lines(claims: Sequence[Row]) -> list[str]:
    """A Markdown table of claims."""
    lines = []
    for row in claims:
        of = (
            row["subject"]
            + (f" − {row['baseline']}" if row["baseline"] else "")
            + (f" at {float(row['length_factor']):.3g} L" if row["length_factor"] else "")
        )
        says = row["claim"] + ("" if row["primary"] == "True" else " *(exploratory)*")
        verdict = f"**{row['verdict']}**" if row["primary"] == "True" else row["verdict"]
        p, detectable = markdown.p_value(row["p"]), markdown.number(row["detectable"])
        lines.append(
            [
                says,
                f"{row['measure']} of {of}",
                row["predict"],
                markdown.interval(row),
                verdict,
                p,
                detectable,
            ]
        )
    return text_tables.markdown(
        ["claim", "measure", "predicted", "found [95 % interval]", "verdict", "p", "detectable"],
        lines,
        "l",
    )


def _title(about: Mapping[str, Any]) -> str:
    return f"{about['name']}: {about['meaning']}"


def _details(values: Sequence[Row]) -> str:
    seeds, documents = (
        {int(row[column]) for row in values if row["status"] == "ok"}
        for column in ("n_seeds", "n_documents")
    )
    return f"{_span(seeds)} seeds, {_span(documents)} documents; bands: 95 % intervals, two-way Student over seeds and documents."


SUMMARY = """\
# {name}

{meaning}

{claim}

Verdict: **{word}** ({n_seeds} seeds; `{command}`).

![{show}](values.svg)

## Claims

Declared in `configs/study/{name}.yaml` before the runs. The {primary} primary ones decide, at 0.05 together (Holm); p of the exploratory
ones is adjusted for false discoveries. L: the training length. detectable: the smallest true difference that so many seeds and documents
find with probability 0.8. The words' rules: `lengthgen/studies/claims.py`; the measures: `lengthgen/studies/measures.py`.

{claims}
"""


def _summary(about: Mapping[str, Any], found: Mapping[str, Sequence[Row]]) -> list[str]:
    claims, values = found["claims"], found["values"]
    primary = sum(row["primary"] == "True" for row in claims)
    parts = [
        SUMMARY.format(
            **about
            | {
                "word": word(claims),
                "n_seeds": _span({int(row["n_seeds"]) for row in claims}),
                "primary": primary,
                "claims": "\n".join(claim_lines(claims)),
            }
        )
    ]
    parts += sections.repairs(found["repairs"]) + sections.costs(found["costs"], values)
    parts += sections.context(found["context"]) + sections.orders(
        about.get("published", []), values
    )
    parts += sections.information(found["information"]) + sections.key_tokens(found["key_tokens"])
    for protocol, measure in dict.fromkeys((row["protocol"], row["measure"]) for row in values):
        own = [row for row in values if (row["protocol"], row["measure"]) == (protocol, measure)]
        parts += [
            f"## {measure.capitalize()} by evaluation length, {protocol}",
            "",
            f"nats/token; {_details(own)}",
            "",
        ]
        for train_length in dict.fromkeys(row["train_length"] for row in own):
            parts += [
                *markdown.grid(
                    [row for row in own if row["train_length"] == train_length],
                    lambda row: row["subject"],
                    "value",
                ),
                "",
            ]
    return parts + _made(about)


def _made(about: Mapping[str, Any]) -> list[str]:
    parts = ["## How it was made", "", f"`{about['command']}`", ""]
    for title, key in (
        ("Commits", "commits"),
        ("Devices", "devices"),
        ("Threads of a run", "threads"),
    ):
        parts += [f"{title}: {', '.join(f'`{value}`' for value in about.get(key, []))}.", ""]
    parts += ["Each run again, with `seed=0`, `1`, ...:", ""]
    parts += [
        f"- {arm}: `lengthgen train {' '.join(overrides)}`"
        for arm, overrides in about["arms"].items()
    ]
    parts += [
        f"- +{name}: `lengthgen evaluate run=ID {' '.join(overrides)}`"
        for name, overrides in about["conditions"].items()
    ]
    return parts


def verdict_lines(folders: Sequence[Path], where: str = "") -> list[str]:
    """A Markdown table of studies and their verdicts; where: what comes before a study's folder in a link."""
    lines = []
    for folder in folders:
        about, claims = (
            files.read_json(folder / "study.json", {}),
            study_folder.read(folder / "claims.csv"),
        )
        words = [row["verdict"] for row in claims if row["primary"] == "True"]
        counts = ", ".join(str(words.count(w)) for w in ("supported", "refuted", "undecided"))
        lines.append(
            [
                f"[{folder.name}]({where}{folder.name}/summary.md)",
                about["meaning"],
                f"**{word(claims)}**",
                counts,
            ]
        )
    return text_tables.markdown(
        ["study", "what it asks", "verdict", "primary claims: supported, refuted, undecided"],
        lines,
        "l",
    )


def _all(folders: Sequence[Path]) -> str:
    parts = [
        "# Studies",
        "",
        "Made by `lengthgen study NAME`, declared before the runs in configs/study/.",
        "",
        *verdict_lines(folders),
    ]
    for folder in folders:
        about, claims = (
            files.read_json(folder / "study.json", {}),
            study_folder.read(folder / "claims.csv"),
        )
        parts += ["", f"## {folder.name}", "", about["claim"], "", *claim_lines(claims)]
    return "\n".join(parts) + "\n"


def _span(counts: set[int]) -> str:
    return str(min(counts, default=0)) + (f" to {max(counts)}" if len(counts) > 1 else "")
