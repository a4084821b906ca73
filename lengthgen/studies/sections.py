"""Sections of a study's summary that only some studies have. Rows: as study_folder.read gives."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lengthgen.reporting import text_tables
from lengthgen.studies.registration import Registration
from lengthgen.studies.study_folder import Row

LAGS = (1, 2, 4, 8, 15, 16, 17, 31, 32)  # distances in the table of mutual information


def section(title: str, text: str, table: Sequence[str]) -> list[str]:
    return [f"## {title}", "", text, "", *table, ""]


def cell(row: Row, column: str = "value") -> str:
    """The value with its interval, or the status that left none: `refused` of `(refused: ...)`."""
    if row.get("status", "ok") != "ok":
        return row["status"].partition("(")[2].partition(":")[0] or "none"
    return text_tables.interval(row[column], row["low"], row["high"], text_tables.number)


def checks(table: Sequence[str]) -> list[str]:
    """Claims that check the instrument, if there are any: a table without lines has two."""
    if len(table) <= 2:
        return []
    text = (
        "Identities and other things that hold whatever the world is like, judged as claims are "
        "(Holm among themselves) and never counted with them."
    )
    return section("Checks of the instrument", text, table)


def rates(rows: Sequence[Row]) -> list[str]:
    """The loss at the training length at every point of a study's grid."""
    if not rows:
        return []
    lines = [
        [
            row["arm"],
            f"**{row['point']}**" if row["best"] else row["point"],
            "yes" if row["common"] else "",
            text_tables.interval(row["loss"], row["low"], row["high"], text_tables.number)
            if row["status"] == "ok"
            else row["status"],
            "yes, at the edge" if row["edge"] else "yes" if row["best"] else "",
        ]
        for row in rows
    ]
    seeds = text_tables.span({row["n_seeds"] for row in rows})
    text = (
        f"Loss at the training length, nats/token, {seeds} seeds. An arm's own best is chosen by "
        "this loss alone, never by one beyond the training length; one at the edge of the grid may "
        "have a better one outside. A claim has a verdict where its own best rates and the common "
        "one agree."
    )
    head = ["arm", "values", "common", "loss at L", "own best"]
    return section("Learning rates", text, text_tables.markdown(head, lines))


def training(rows: Sequence[Row]) -> list[str]:
    """How the training of each arm ended: what it still learned, over its seeds."""
    if not rows:
        return []
    lines = []
    for arm in dict.fromkeys(row["arm"] for row in rows):
        of_arm = [row for row in rows if row["arm"] == arm]
        gains = [row["last_doubling"] for row in of_arm if not math.isnan(row["last_doubling"])]
        ends = dict.fromkeys(f"{end:.3f}" for end in (min(gains), max(gains))) if gains else {}
        settled = sum(row["settled"] for row in of_arm)
        steps, tokens = (
            text_tables.span({row[column] for row in of_arm}) for column in ("steps", "tokens")
        )
        lines.append(
            [
                arm,
                steps,
                tokens,
                " to ".join(ends),
                f"{settled} of {len(of_arm)}" if settled else "",
            ]
        )
    text = (
        "What the last doubling of the steps improved the loss at the training length by, "
        "nats/token: where it is large, the claims are about models of so many tokens. Settled: "
        "seeds whose training ended by the rule that this is small (`settle`)."
    )
    head = ["arm", "steps", "tokens", "last doubling", "settled"]
    return section("Training", text, text_tables.markdown(head, lines, "lr"))


def earlier(rows: Sequence[Row]) -> list[str]:
    """The verdicts under earlier registrations, which stay."""
    if not rows:
        return []
    lines = [
        [
            row["registration"],
            row["registered"].partition("T")[0],
            row["claim"] if row["primary"] else f"{row['claim']} *(not primary)*",
            row["predict"],
            cell(row),
            row["verdict"] + (f": {row['reason']}" if row["reason"] else ""),
        ]
        for row in rows
    ]
    head = ["registration", "of", "claim", "predicted", "found [95 % interval]", "verdict"]
    text = (
        "What other declarations of this study had found; results/registrations holds their text "
        "(none: made before registrations were kept)."
    )
    return section("Earlier verdicts", text, text_tables.markdown(head, lines))


def log(registrations: Sequence[Registration], studies: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every registration, oldest first, and whether its runs came after it."""
    used = {}
    for about in studies:
        one = about.get("registration")
        if one:
            before = about["runs_before"]
            used[one["study"], one["number"]] = f"{before} of {len(about['runs'])} runs are older"
            if not before:
                used[one["study"], one["number"]] = "all runs are younger"
    lines = [
        [
            one.label,
            str(one.number),
            one.registered,
            f"`{one.hash}`",
            f"`{one.commit[:12]}`{'' if one.committed else ' (not in it)'}"
            if one.commit
            else "none",
            used.get((one.study, one.number), "no results here"),
        ]
        for one in registrations
    ]
    head = ["study", "registration", "stored", "hash", "commit", "its runs"]
    text = (
        "What each study declared, stored before its runs in results/registrations/; a changed "
        "declaration is a new registration, and the verdicts under earlier ones stay in the "
        "study's page. A run that is older was shared with another study: its losses may have been "
        "known."
    )
    table = text_tables.markdown(head, lines) if lines else ["None yet."]
    return section("Registrations", text, table)


def repairs(rows: Sequence[Row]) -> list[str]:
    """What each condition gives back of an arm's loss beyond its training length."""
    if not rows:
        return []
    table = text_tables.by_length(
        rows, lambda row: f"{row['arm']}+{row['condition']}", lambda row: cell(row, "recovered")
    )
    text = (
        "Share of an arm's loss beyond its training length that a condition undoes; nothing is "
        "trained for it."
    )
    return section("Repairs", text, table)


def context(rows: Sequence[Row]) -> list[str]:
    """The effective context of every subject, in symbols."""
    if not rows:
        return []
    table = text_tables.by_length(
        rows,
        lambda row: row["subject"],
        lambda row: text_tables.interval(row["tokens"], row["low"], row["high"], "{:.0f}".format),
    )
    text = "Symbols that the best predictor needs to reach the same loss [95 % interval]."
    return section("Effective context", text, table)


def information(rows: Sequence[Row]) -> list[str]:
    """Mutual information of the texts at a few distances, and where it peaks."""
    if not rows:
        return []
    curves: dict[str, dict[int, float]] = {}
    for row in rows:
        curves.setdefault(row["dataset"], {})[row["lag"]] = row["nats"]
    lags = [lag for lag in LAGS if all(lag in curve for curve in curves.values())]
    lines = []
    for dataset, curve in curves.items():
        peaks = [
            lag
            for lag in curve
            if lag > 1 and curve[lag] > max(curve[lag - 1], curve.get(lag + 1, 0.0))
        ]
        highest = sorted(sorted(peaks, key=lambda lag: -curve[lag])[:3])
        values = (f"{curve[lag]:.3f}" for lag in lags)
        lines.append([dataset, *values, ", ".join(map(str, highest)) or "none"])
    head = ["text", *map(str, lags), "highest peaks"]
    table = text_tables.markdown(head, lines, "l" + "r" * len(lags) + "l")
    text = (
        "Between two bytes this many bytes apart, nats; information.csv has every distance. "
        "A peak is above both of its neighbours."
    )
    return section("Mutual information by distance", text, table)


def key_tokens(rows: Sequence[Row]) -> list[str]:
    """How many targets long context decides, and why no loss is given for them, if none is."""
    if not rows:
        return []
    reasons = sorted({row["reason"] for row in rows if row["status"] != "ok"})
    return [
        "## Tokens that long context decides",
        "",
        f"{rows[0]['n_key_tokens']} of {rows[0]['n_tokens']} targets; "
        "each seed is in key_tokens.csv.",
        *(f"No loss is given: {reason}." for reason in reasons),
        "",
    ]
