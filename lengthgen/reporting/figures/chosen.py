"""Which schemes and evaluation lengths a figure is to show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pandas as pd

Row = TypeVar("Row", bound=Mapping[str, Any])


@dataclass(frozen=True)
class Chosen:
    """Empty: all. schemes: labels, or the arms of studies."""

    schemes: tuple[str, ...] = ()
    lengths: tuple[int, ...] = ()

    def table(self, table: pd.DataFrame) -> pd.DataFrame:
        """The rows of a table with columns scheme and eval_length."""
        if self.schemes:
            table = table[table["scheme"].isin(self.schemes)]
        return table[table["eval_length"].isin(self.lengths)] if self.lengths else table

    def rows(self, rows: Sequence[Row]) -> list[Row]:
        """The rows of a study's table; those without an evaluation length stay."""
        return [row for row in rows if self._has(row)]

    def _has(self, row: Mapping[str, Any]) -> bool:
        subject = str(row["subject"])
        arm = subject.partition("+")[0]
        named = {subject, arm, str(row.get("scheme", ""))}
        wanted = any(name in named or arm.endswith(f"_{name}") for name in self.schemes)
        length = row.get("eval_length")
        return (wanted or not self.schemes) and (
            not self.lengths or length is None or length in self.lengths
        )


ALL = Chosen()
