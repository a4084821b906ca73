"""Studies in the HTML report: questions and verdicts, then every claim with what was found."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lengthgen.errors import DataError
from lengthgen.reporting import text_tables
from lengthgen.reporting.page import numbers
from lengthgen.reporting.page.content import (
    Block,
    Cell,
    Commands,
    Facts,
    Fold,
    Mark,
    Section,
    Table,
    Text,
)  # fmt: skip
from lengthgen.studies import history, report_curves, study_folder, verdict_tables
from lengthgen.studies.claim_rows import role
from lengthgen.studies.claims import CHECK, EXPLORATORY, PRIMARY, WORDS
from lengthgen.studies.study_folder import Row

TITLES = {
    PRIMARY: "Primary claims: they decide the verdict, at 0.05 together (Holm)",
    EXPLORATORY: "Exploratory claims: p adjusted for false discoveries",
    CHECK: "Checks of the instrument: never counted",
}
HEAD = ("claim", "predicted", "found", "verdict", "p", "detectable")
Study = tuple[Mapping[str, Any], list[dict[str, Any]], list[dict[str, Any]]]  # the last: values


def section(results: Path, on_fault: Callable[[str], None]) -> Section:
    """Empty without studies. on_fault: gets a line for each that is damaged, which is left out."""
    studies: list[Study] = []
    folders = {path.parent for path in (results / "studies").glob("[!.]*/claims.csv")}
    for folder in sorted(folders):
        try:
            study_folder.check(folder)
            about, claims = verdict_tables.read(folder)
            if "name" in about:
                values = study_folder.read(folder / "values.csv")
                studies.append((about, claims, values))
        except DataError as error:
            on_fault(str(error))
    # Claims about the world first, then the checks of the instrument.
    studies.sort(key=lambda study: bool(study[0].get("check")))
    blocks: list[Block] = [_overview(studies), *map(_study, studies)] if studies else []
    return Section("studies", "Studies: what was claimed, and what was found", blocks, "Studies")


def _overview(studies: Sequence[Study]) -> Table:
    rows = []
    for about, claims, _ in studies:
        words = [row["verdict"] for row in claims if row["primary"]]
        counts = ", ".join(f"{words.count(word)} {word}" for word in WORDS if word in words)
        verdict = Cell(word=verdict_tables.word(claims))
        name = Cell(about["name"], anchor=f"study-{about['name']}", code=True)
        asked = f"{about['meaning']} (a check of the instrument)" if about.get("check") else ""
        rows.append([name, Cell(asked or about["meaning"]), verdict, Cell(counts)])
    head = ("study", "what it asks", "verdict", "primary claims")
    note = (
        "A study is supported if all its primary claims are, and refuted if one is. Shaded in the "
        "pictures of claims: the side that was predicted; the solid line is its threshold, the "
        "dotted one 0, and each has a scale of its own."
    )
    return Table("Studies and their verdicts", head, rows, note=note, stacked=True)


def _study(study: Study) -> Fold:
    about, claims, values = study
    declared = history.sentence(about)
    seeds = text_tables.span({row["n_seeds"] for row in claims})
    blocks: list[Block] = [
        Text(about["claim"]),
        Text(f"{declared[0].upper()}{declared[1:]}. {seeds} seeds."),
    ]
    for kind, title in TITLES.items():
        rows = [_claim(row) for row in claims if role(row) == kind]
        if rows:
            caption = f"{about['name']}: {title[0].lower()}{title[1:]}"
            blocks.append(Table(caption, HEAD, rows, frozenset({4, 5}), stacked=True))
    blocks += report_curves.blocks(about["name"], values)
    blocks += _origin(about)
    word = verdict_tables.word(claims)
    return Fold(about["name"], blocks, f"study-{about['name']}", word, about["meaning"])


def _claim(row: Row) -> list[Cell]:
    subject = " − ".join(filter(None, (row["subject"], row["baseline"])))
    factor = row["length_factor"]
    at = f" at {factor:.3g} L" if factor == factor else ""
    protocol = f", {row['protocol']}" if row.get("protocol") else ""
    value, low, high = (float(row[name]) for name in ("value", "low", "high"))
    found = Cell(
        numbers.number(value) or "no number",
        numbers.interval(low, high),
        mark=Mark(value, low, high, row["predict"]),
    )
    return [
        Cell(row["claim"], f"{row['measure']} of {subject}{at}{protocol}"),
        Cell(_predicted(row["predict"])),
        found,
        Cell("", row.get("reason") or "", row["verdict"]),
        Cell(text_tables.p_value(row["p"]) if row["p"] == row["p"] else ""),
        Cell(text_tables.number(row["detectable"])),
    ]


def _predicted(text: str) -> str:
    kind, _, number = text.partition(" ")
    return f"within ±{number}" if kind == "within" else f"{kind} {number}".replace("-", "−")


def _origin(about: Mapping[str, Any]) -> list[Block]:
    facts = {
        "files": f"results/studies/{about['name']}",
        "runs": str(len(about.get("runs", []))),
        "commits": ", ".join(commit[:12] for commit in about.get("commits", [])),
        "devices": ", ".join(about.get("devices", [])),
        "threads": ", ".join(map(str, about.get("threads", []))),
    }
    starts = about.get("starts") or {}
    arms = [
        shlex.join(["lengthgen", "train", *overrides])
        + (f"  # from the run of {starts[arm]}" if arm in starts else "")
        for arm, overrides in about.get("arms", {}).items()
    ]
    found = [(name, text) for name, text in facts.items() if text]
    trainings = Fold("Each training by itself, for seed=0, 1, ...", [Commands(arms)])
    command = [Commands([about["command"]])] if about.get("command") else []
    return [Facts(found), *command, *([trainings] if arms else [])]
