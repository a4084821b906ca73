"""summary.md of a study, from its tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from lengthgen.reporting import text_tables
from lengthgen.studies import (
    bias_section,
    costs_section,
    crossings_section,
    exposure_section,
    history,
    orders,
    panels,
    sections,
    study_folder,
    verdict_tables,
    words_section,
)
from lengthgen.studies.claim_rows import role
from lengthgen.studies.claims import CHECK
from lengthgen.studies.parts import Figure
from lengthgen.studies.study_folder import Row

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


def lines(about: Mapping[str, Any], tables: Mapping[str, Sequence[Row]]) -> list[str]:
    claims, values = tables["claims"], study_folder.at_own_best(tables["values"])
    evidence = [row for row in claims if role(row) != CHECK]
    facts = {
        "word": verdict_tables.word(claims),
        "verdict": "Check of the instrument" if about.get("check") else "Verdict",
        "claims_title": "What is checked" if about.get("check") else "Claims",
        "figures": "\n\n".join(
            f"![{text}]({stem}.svg)" for stem, text in _pictures(about, tables).items()
        ),
        "declared": history.sentence(about),
        "n_seeds": text_tables.span({row["n_seeds"] for row in claims}),
        "primary": sum(row["primary"] for row in claims),
        "claims": "\n".join(verdict_tables.of_claims(evidence)),
    }
    parts = [
        SUMMARY.format(**{**about, **facts}),
        *sections.checks(verdict_tables.of_claims([row for row in claims if role(row) == CHECK])),
        *words_section.lines(tables["words"], about["axis"]),
        *sections.rates(tables["rates"]),
        *bias_section.lines(tables["bias"]),
        *sections.training(tables["training"]),
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
        parts += [title, "", f"nats/token; {details(rows)}", ""]
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
    starts = about.get("starts") or {}
    for arm, overrides in about["arms"].items():
        start = f" from=ID`, the run of {starts[arm]}" if arm in starts else "`"
        parts.append(f"- {arm}: `lengthgen train {' '.join(overrides)}{start}")
    for name, overrides in about["conditions"].items():
        parts.append(f"- +{name}: `lengthgen evaluate run=ID {' '.join(overrides)}`")
    return parts


def figures(about: Mapping[str, Any]) -> dict[str, Figure]:
    """File name -> the figure of values that a study asks for: values, values_2, ..."""
    asked = [Figure(**options) for options in about.get("figures") or ()]
    asked = asked or [Figure(show=about["show"], axis=about["axis"])]
    return {f"values_{i}" if i > 1 else "values": one for i, one in enumerate(asked, start=1)}


def _measured(row: Row) -> bool:
    return row["status"] == "ok" and row["measure"] not in panels.NOTES


def details(values: Sequence[Row]) -> str:
    seeds, documents = (
        text_tables.span({row[column] for row in values if _measured(row)})
        for column in ("n_seeds", "n_documents")
    )
    interval = "95 % intervals, two-way Student over seeds and documents"
    return f"{seeds} seeds, {documents} documents; bands: {interval}."
