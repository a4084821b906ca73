"""How often the training of an arm reached each entry of its tables of positions or offsets.

Counted exactly (diagnostics/exposure.py) over all windows of a training: query-key pairs whose bias
reads an entry, or loss terms that a code of a position can influence. Of the first seed: the counts
are those of the scheme, L and the number of windows.
"""

from collections.abc import Iterable
from typing import Any

from lengthgen.studies.losses import EvaluatedRun, Material

Row = dict[str, Any]
WINDOWS = 4  # training windows read where the text or chance decides the positions


def rows(material: Material, names: Iterable[str]) -> list[Row]:
    """EXPOSURE: a row for each table of every arm; arms without one have none."""
    return [
        {"subject": name, **row} for name in names for row in _of_run(material[name].evaluations[0])
    ]


def _of_run(evaluation: EvaluatedRun) -> list[Row]:
    from lengthgen.diagnostics import exposure, reads
    from lengthgen.diagnostics.diagnosed_model import DiagnosedModel
    from lengthgen.runs import stored

    model, splits = stored.evaluated_model(evaluation.folder)
    L, longest = evaluation.train_length, max(evaluation.lengths("matched"))
    training = splits.train.tokens(0, WINDOWS * L).view(WINDOWS, L)
    subject = DiagnosedModel(
        model=model,
        trained=model.scheme,
        initial=model.scheme,
        lengths=(L, longest),
        windows={n: splits.validation.tokens(0, n)[None] for n in (L, longest)},
        training=training,
        n_read=0,
    )
    tables = reads.learned(model.scheme)
    n_windows = evaluation.steps * int(evaluation.config["batch_size"])
    found = []
    for counted in exposure.count_reads(subject, list(tables.values())):
        unread = exposure.unread(subject, counted)
        for number, (name, table) in enumerate(tables.items()):
            if number in counted.tables:
                weights = table.detach()
                entries = exposure.rows_of(name, weights, weights, counted, number)
                found.append(_summary(entries, unread, n_windows) | {"parameter": name})
    return found


def _summary(entries: list[Row], unread: list[Row], n_windows: int) -> Row:
    """EXPOSURE of one table, but for its names. entries, unread: rows of diagnostics/exposure.py"""
    read = [row for row in entries if row["terms"]]
    most, fewest = (choose(read, key=lambda row: row["terms"]) for choose in (max, min))
    return {
        "by": entries[0]["by"],
        "entries": len(entries),
        "unread_entries": len(entries) - len(read),
        "most": most["terms"] * n_windows,
        "most_first": most["first"],
        "most_last": most["last"],
        "fewest": fewest["terms"] * n_windows,
        "fewest_first": fewest["first"],
        "fewest_last": fewest["last"],
        "beyond_first": unread[0]["first"] if unread else None,
        "beyond_last": unread[-1]["last"] if unread else None,
    }
