"""The rows of an evaluation as the few lines that a run ends with."""


def lines(rows: list[dict]) -> list[str]:
    """A small table of the matched losses for the end of a run (of the first protocol, where matched was not asked for)."""
    protocol = (
        "matched"
        if any(row["protocol"] == "matched" for row in rows)
        else rows[0]["protocol"]
        if rows
        else ""
    )
    found = [f"{protocol}: tokens  loss [nats/token]  95 % interval    perplexity"]
    perplexity = {
        row["eval_length"]: row["value"]
        for row in rows
        if row["protocol"] == protocol and row["metric"] == "perplexity"
    }
    for row in rows:
        if row["protocol"] != protocol or row["metric"] != "loss":
            continue
        mark = "  <- trained at" if row["eval_length"] == row["train_length"] else ""
        if row["status"] != "ok":
            found.append(
                f"{row['eval_length']:>{len(protocol) + 8}}  {row['status']}: {row['reason']}"
            )
            continue
        interval = f"{row['low']:.4f} .. {row['high']:.4f}"
        found.append(
            f"{row['eval_length']:>{len(protocol) + 8}}  {row['value']:17.4f}  {interval}  {perplexity[row['eval_length']]:10.3f}{mark}"
        )
        if row["reason"]:
            found.append(f"{'':>{len(protocol) + 8}}  {row['reason']}")
    return found + _match_lines(rows)


def _match_lines(rows: list[dict]) -> list[str]:
    """The same for exact match, where the rows have it."""
    found = []
    accuracy = {
        row["eval_length"]: row["value"] for row in rows if row["metric"] == "token_accuracy"
    }
    for row in rows:
        if row["metric"] != "exact_match" or row["value"] is None:
            continue
        mark = "  <- trained at" if row["eval_length"] == row["train_length"] else ""
        interval = f"{row['low']:.3f} .. {row['high']:.3f}"
        found.append(
            f"{row['eval_length']:>13}  {row['value']:11.3f}  {interval}  {accuracy[row['eval_length']]:14.3f}{mark}"
        )
    return ["whole: tokens  exact match  95 % interval   token accuracy", *found] if found else []
