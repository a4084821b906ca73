"""The section of a study's page with the word for every subject, by length or training tokens."""

from collections.abc import Sequence

from lengthgen.reporting import text_tables
from lengthgen.studies.sections import section
from lengthgen.studies.study_folder import Row

TEXT = """By the rules of README's terms, each for itself and not corrected for their number;
in brackets the change of the loss from the training length, nats/token."""


def lines(rows: Sequence[Row], axis: str) -> list[str]:
    """Markdown; [] without rows of words.csv. axis: of the study, tokens or another."""
    if not rows:
        return []
    text = " ".join(TEXT.split())
    if axis != "tokens":
        table = text_tables.by_length(rows, lambda row: row["subject"], _cell)
        return section("Words", text, table)
    # A line for each scheme and length, a column for each number of training tokens.
    cells = {(_line(row), row["tokens"]): _cell(row) for row in rows}
    tokens = sorted({row["tokens"] for row in rows})
    ordered = sorted(rows, key=lambda row: row["eval_length"])
    arms = dict.fromkeys(row["subject"].partition("+")[0] for row in rows)
    lines = [
        [line, *(cells.get((line, each), "") for each in tokens)]
        for arm in arms
        for line in dict.fromkeys(_line(row) for row in ordered if _line(row).startswith(f"{arm},"))
    ]
    head = ["", *(f"{text_tables.count(each)} tokens" for each in tokens)]
    return section("Words", text, text_tables.markdown(head, lines))


def _line(row: Row) -> str:
    return f"{row['subject'].partition('+')[0]}, {row['eval_length'] / row['train_length']:g} L"


def _cell(row: Row) -> str:
    return f"{row['word']} ({row['change']:+.3f})"
