"""The rows of an evaluation as the few lines that a run ends with."""

from typing import Any

Row = dict[str, Any]
MATCH_HEAD = "whole: tokens  exact match  95 % interval   token accuracy"


def lines(rows: list[Row]) -> list[str]:
    """A small table of the matched losses, or of the first protocol where there are none.

    Below the bigram table: the floor of competence (bigram.py); the word: this run's own, where a
    row has one.
    """
    protocols = [row["protocol"] for row in rows]
    protocol = "matched" if "matched" in protocols else protocols[0] if rows else ""
    width = len(protocol) + 8
    perplexity = _by_length(rows, "perplexity", protocol)
    below = _by_length(rows, "below_bigram", protocol)
    head = f"{protocol}: tokens  loss [nats/token]  95 % interval    perplexity  below bigram table"
    table, said = [head], list[str]()
    for row in rows:
        if row["protocol"] != protocol or row["metric"] != "loss":
            continue
        length = row["eval_length"]
        if row["status"] != "ok":
            table.append(f"{length:>{width}}  {row['status']}: {row['reason']}")
            continue
        interval = f"{row['low']:.4f} .. {row['high']:.4f}"
        margin, word = below.get(length), row.get("word", "")
        table.append(
            f"{length:>{width}}  {row['value']:17.4f}  {interval}  {perplexity[length]:10.3f}"
            f"{'' if margin is None else f'{margin:+20.4f}'}{word and f'  {word}'}{_mark(row)}"
        )
        if row["reason"] and row["reason"] not in said:
            said.append(row["reason"])
            table.append(f"{'':>{width}}  {row['reason']}")
    return table + _match_lines(rows)


def _match_lines(rows: list[Row]) -> list[str]:
    """The same for exact match, where the rows have it."""
    accuracy, table = _by_length(rows, "token_accuracy"), []
    for row in rows:
        if row["metric"] != "exact_match" or row["value"] is None:
            continue
        length = row["eval_length"]
        interval = f"{row['low']:.3f} .. {row['high']:.3f}"
        table.append(
            f"{length:>13}  {row['value']:11.3f}  {interval}  {accuracy[length]:14.3f}{_mark(row)}"
        )
    return [MATCH_HEAD, *table] if table else []


def _by_length(rows: list[Row], metric: str, protocol: str | None = None) -> dict[int, float]:
    return {
        row["eval_length"]: row["value"]
        for row in rows
        if row["metric"] == metric and protocol in (None, row["protocol"])
    }


def _mark(row: Row) -> str:
    return "  <- trained at" if row["eval_length"] == row["train_length"] else ""
