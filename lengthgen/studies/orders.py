"""The order of schemes in published tables beside the study's, by Kendall's tau.

Only orders are compared: data, sizes and training differ. tau: share of the pairs in the same
order minus the share in the other; p: exact, two-sided, of as great a |tau| for two orders at
random (with 4 schemes never below 0.083, with 5 never below 0.017). Source: Kendall 1938
(Biometrika 30).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lengthgen.reporting import text_tables
from lengthgen.studies.sections import section
from lengthgen.studies.study_folder import Row

LEAST = 3  # schemes in common
TEXT = """The published order of schemes, worst first, and that of the same checkpoints here under
each protocol. Only the order is compared: data, model size and training differ. tau: Kendall's, 1
for the same order and -1 for the reverse; p: exact, two-sided."""


def rows(published: Sequence[Mapping[str, Any]], values: Sequence[Row]) -> list[dict[str, Any]]:
    """ORDERS: published table x evaluation length x protocol."""
    found = []
    for paper in published:
        for factor, theirs in _of_paper(paper):
            for protocol, ours in _of_study(values, factor).items():
                common = [name for name in theirs if name in ours]
                if len(common) < LEAST:
                    continue
                tau, p = kendall([theirs[name] for name in common], [ours[name] for name in common])
                found.append(
                    {
                        "source": paper["source"],
                        "length_factor": factor,
                        "protocol": protocol,
                        "published": _order({name: theirs[name] for name in common}),
                        "here": _order({name: ours[name] for name in common}),
                        "tau": tau,
                        "p": p,
                        "n_schemes": len(common),
                    }
                )
    return found


def kendall(one: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """(tau, exact two-sided p). p is NaN where values tie: the exact distribution has no ties."""
    from scipy import stats

    tied = len(set(one)) < len(one) or len(set(other)) < len(other)
    found = stats.kendalltau(one, other, method="auto" if tied else "exact")
    return float(found.statistic), math.nan if tied else float(found.pvalue)


def lines(found: Sequence[Row]) -> list[str]:
    """Markdown: a published order, and below it those of the study."""
    if not found:
        return []
    table: list[list[str]] = []
    said: tuple = ()
    for row in found:
        paper = row["source"], row["length_factor"], row["published"]
        if paper != said:
            at = f"{row['length_factor']:g} L"
            table.append([f"**{row['source']}**, at {at}", row["published"], "", ""])
            said = paper
        p = "ties" if math.isnan(row["p"]) else text_tables.p_value(row["p"])
        table.append([f"here, {row['protocol']}", row["here"], f"{row['tau']:+.2f}", p])
    head = ["order", "worst first", "tau", "p"]
    text = " ".join(TEXT.split())
    return section("Orders", text, text_tables.markdown(head, table, "llrr"))


def _of_paper(paper: Mapping[str, Any]) -> Iterator[tuple[float, dict[str, float]]]:
    """(evaluation length / train_length, subject -> its number) of a published table."""
    order = list(paper.get("worst_first") or ())
    if order:
        yield paper["length_factor"], {name: float(-i) for i, name in enumerate(order)}
    for place, factor in enumerate(paper.get("length_factors") or ()):
        numbers = {
            name: float(of_name[place])
            for name, of_name in paper["values"].items()
            if of_name[place] is not None
        }
        yield factor, numbers


def _of_study(values: Sequence[Row], factor: float) -> dict[str, dict[str, float]]:
    """Protocol -> subject -> loss."""
    found: dict[str, dict[str, float]] = {}
    for row in values:
        at = row["eval_length"] / row["train_length"]
        if (row["measure"], row["status"]) == ("loss", "ok") and abs(at - factor) < 0.03:
            found.setdefault(row["protocol"], {})[row["subject"]] = row["value"]
    return found


def _order(numbers: Mapping[str, float]) -> str:
    return " > ".join(sorted(numbers, key=lambda name: -numbers[name]))
