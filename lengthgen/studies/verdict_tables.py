"""Markdown tables of claims and of studies, with their verdicts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lengthgen import files
from lengthgen.reporting import text_tables
from lengthgen.studies import sections, study_folder
from lengthgen.studies.claim_rows import role
from lengthgen.studies.claims import EXPLORATORY, WORDS, of_study
from lengthgen.studies.study_folder import Row


def word(claims: Sequence[Row]) -> str:
    """The study's verdict, which is that of its primary claims."""
    return of_study(row["verdict"] for row in claims if row["primary"])


def of_claims(claims: Sequence[Row]) -> list[str]:
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


def of_studies(folders: Sequence[Path], where: str = "") -> list[str]:
    """A Markdown table of studies. where: what precedes a study's folder in a link."""
    lines = []
    for folder in folders:
        about, claims = read(folder)
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
    return [folder for folder in folders if not read(folder)[0].get("check")]


def read(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    return files.read_json(folder / "study.json", {}), study_folder.read(folder / "claims.csv")
