"""The folder of a model's diagnostics: CSVs, figures and summary.md. Whole or not at all."""

import importlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lengthgen import files
from lengthgen.diagnostics import figures
from lengthgen.diagnostics.diagnosed_model import DiagnosedModel
from lengthgen.diagnostics.findings import Finding
from lengthgen.diagnostics.settings import NAMES
from lengthgen.errors import is_out_of_memory
from lengthgen.terminal.progress import each

log = logging.getLogger(__name__)

MEASURES: dict[str, Callable[[DiagnosedModel], Finding]] = {
    name: importlib.import_module(f"lengthgen.diagnostics.{name}").measure for name in NAMES
}


def write_folder(
    folder: Path,
    subject: DiagnosedModel,
    which: Sequence[str],
    identity: Mapping[str, Any],
    about: Mapping[str, Any],
    done: Mapping[str, Finding] | None = None,
) -> dict[str, Finding]:
    """Do the diagnostics named in `which` and write `folder`. Returns their findings.

    identity: the first columns of every row; about: settings and origin, for settings.json. done:
    those that are measured already.
    """
    ready = done or {}
    rest = measured(subject, [name for name in which if name not in ready])
    findings = {name: {**ready, **rest}[name] for name in which}
    no_room = [name for name, finding in findings.items() if finding.no_room]
    with files.replacing_folder(folder) as aside:
        tables = [table for finding in findings.values() for table in finding.tables]
        for table in each("figures", tables, len(tables)):
            rows = [{**identity, **row} for row in table.rows]
            files.write_table(aside / f"{table.name}.csv", rows, [*identity, *table.columns])
            figures.save_figure(table, identity, subject.train_length, aside)
        files.write_text(aside / "summary.md", summary_page(findings, identity))
        files.write_json(
            aside / "settings.json", {**about, **({"no_room": no_room} if no_room else {})}
        )
    return findings


def measured(subject: DiagnosedModel, which: Sequence[str]) -> dict[str, Finding]:
    """The findings of the diagnostics named in `which`."""
    findings = {}
    for name in each("diagnostics", which, len(which)):
        log.info("diagnostics: %s", name)
        try:
            findings[name] = MEASURES[name](subject)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            reason = f"a window of {subject.longest:,} tokens does not fit in memory"
            findings[name] = Finding(skipped=reason, no_room=True)
    return findings


def summary_page(findings: Mapping[str, Finding], identity: Mapping[str, Any]) -> str:
    """Markdown: sentences and figures of each diagnostic, then what columns mean."""
    parts = [
        f"# Diagnostics of {identity['scheme']}, run {identity['run']}",
        "Sentences read the tables beside this file and claim no more.",
    ]
    for name, finding in findings.items():
        parts.append(f"## {name}")
        if finding.skipped:
            parts.append(f"Skipped: {finding.skipped}.")
        parts.append("\n".join(f"- {sentence}" for sentence in finding.sentences))
        parts += [
            f"![{table.name}]({table.name}.svg)"
            for table in finding.tables
            if table.name in figures.DRAWN and table.rows
        ]
    shared = ", ".join(f"`{column}`" for column in identity)
    parts += ["## Columns", f"Every table begins with {shared}."]
    for table in (table for finding in findings.values() for table in finding.tables):
        columns = (f"- `{column}`: {meaning}" for column, meaning in table.columns.items())
        parts.append("\n".join((f"`{table.name}.csv`\n", *columns)))
    return "\n\n".join(part for part in parts if part) + "\n"
