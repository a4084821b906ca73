"""The section of a study's page about costs: loss, time, and what has to be kept."""

from collections.abc import Sequence

from lengthgen.reporting import text_tables
from lengthgen.studies.sections import section
from lengthgen.studies.study_folder import Row

TEXT = """Loss on matched targets (nats/token); time of a forward pass over {length} tokens,
relative to the arm as it was trained [least and most of {rounds} rounds]; the keys and values that
all layers keep in float32 to predict the next token after {length} tokens, counted, not measured.
**Bold**: no other row has a surely lower loss there while it is neither surely slower nor keeps
more. Surely: by the 95 % interval of the paired difference, and by every round."""
OLDER = """Loss on matched targets (nats/token); time of a forward pass over {length} tokens,
relative to the arm as it was trained [least and most of {rounds} rounds]. Made before losses were
compared with their intervals: nothing is said about which row beats which."""


def lines(costs: Sequence[Row], frontier: Sequence[Row], values: Sequence[Row]) -> list[str]:
    """Markdown. frontier: empty in a folder made before there was one."""
    if not costs:
        return []
    rows = frontier or [
        {"subject": row["subject"], "eval_length": row["eval_length"], "loss": row["value"]}
        for row in values
        if (row["measure"], row["protocol"], row["status"]) == ("loss", "matched", "ok")
        and row["eval_length"] > row["train_length"]
    ]
    cells = {(row["subject"], row["eval_length"]): row for row in rows}
    lengths = sorted({length for _, length in cells})
    table = []
    for row in costs:
        here = [cells.get((row["subject"], length)) for length in lengths]
        kept = cells.get((row["subject"], row["eval_length"]), {}).get("kept_mib")
        table.append(
            [
                row["subject"],
                *(_loss(one) for one in here),
                text_tables.interval(row["of_trained"], row["low"], row["high"], "{:.2f}".format),
                *([] if kept is None else [f"{kept:.2f}"]),
            ]
        )
    head = ["", *(f"loss at {length}" for length in lengths), "time of trained [least, most]"]
    text = " ".join((TEXT if frontier else OLDER).split())
    facts = {"length": costs[0]["eval_length"], "rounds": costs[0]["rounds"]}
    head += ["kept MiB"] if frontier else []
    return section("Costs", text.format(**facts), text_tables.markdown(head, table, "lr"))


def _loss(row: Row | None) -> str:
    if row is None:
        return ""
    if "beaten_by" not in row:
        return f"{row['loss']:.3f}"
    cell = text_tables.interval(row["loss"], row["low"], row["high"], "{:.3f}".format)
    return cell if row["beaten_by"] else f"**{cell}**"
