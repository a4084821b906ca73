"""A published folder, results/<name>/, read back: its tables, its provenance, its references."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lengthgen import files
from lengthgen.errors import DataError
from lengthgen.evaluation import records, seals
from lengthgen.reporting import references, tables


@dataclass(frozen=True)
class Published:
    """note: provenance.json. references: rows of references.csv, None where there is none."""

    tables: tables.Tables
    note: dict[str, Any]
    references: pd.DataFrame | None


def read(folder: Path) -> Published:
    """What was published there. DataError if a table or provenance.json is not what was."""
    sources = (*(f"{name}.csv" for name in records.TABLES), "provenance.json", references.FILE)
    if wrong := seals.faults(folder, folder.name, sources):
        raise DataError(
            f"{folder}: {'; '.join(wrong)}; publish it again, or put the published file back"
        )
    note = files.read_json(folder / "provenance.json", {})
    return Published(tables.read_evaluations([folder]), note, references.read(folder))
