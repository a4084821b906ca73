"""Fails, tolerates, uses: the words of invented losses, and how a publication shows them."""

import numpy as np
import pandas as pd
import pytest

from lengthgen.evaluation import records
from lengthgen.reporting import summary as markdown
from lengthgen.reporting import tables, verdicts
from lengthgen.statistics import bootstrap

IDENTITY = {
    "dataset": "d",
    "model": "m",
    "train_length": 16,
    "steps": 1,
    "setting": "s",
    "evaluation": "e",
}
# scheme: (F at 32, U against the band at 32 or None), nats
SCHEMES = {
    "breaks": (0.5, 0.2),
    "window": (0.0, 0.0),
    "uses": (-0.05, 0.05),
    "wins by cutting": (-0.05, 0.0),
    "no band": (-0.05, None),
}


@pytest.fixture(scope="module")
def found() -> tuple[pd.DataFrame, pd.DataFrame]:
    chance, documents, lengths = np.random.default_rng(0), [], []
    for scheme, (failure, use) in SCHEMES.items():
        for seed in range(3):
            own = IDENTITY | {"run": f"{scheme}-{seed}", "scheme": scheme, "seed": seed}
            hard = np.random.default_rng(1).normal(2, 0.3, 20)
            at = {("matched", 16): 0.0, ("matched", 32): failure} | (
                {("hard_window", 32): failure + use} if use is not None else {}
            )
            for (protocol, length), change in at.items():
                row = own | {"eval_length": length, "protocol": protocol}
                loss = hard + change + 0.0005 * chance.normal(size=20)
                documents += [
                    row
                    | {"document": f"d{d:02}", "loss_sum": 10 * x, "n_tokens": 10, "n_bytes": 10}
                    for d, x in enumerate(loss)
                ]
                lengths.append(
                    row | {"metric": "loss", "dtype": "fp32", "status": "ok", "reason": ""}
                )
    stopped = own | {"run": "gone", "scheme": "gone", "eval_length": 32, "protocol": "matched"}
    lengths.append(
        stopped | {"metric": "loss", "dtype": "fp32", "status": "refused", "reason": "no rows"}
    )
    documents = pd.DataFrame(documents, columns=list(records.DOCUMENTS))
    summary = tables.summarise(documents, pd.DataFrame(lengths, columns=list(records.LENGTHS)))
    return verdicts.table(documents, summary), summary


def test_words_follow_the_rule(found):
    rows = found[0].set_index("scheme")
    assert dict(rows["word"]) == {
        "breaks": "fails", "window": "tolerates", "uses": "uses", "wins by cutting": "tolerates",
        "no band": "uses", "gone": "refused",
    }  # fmt: skip
    assert set(rows["eval_length"]) == {32} and rows.loc[
        "uses", ["n_seeds", "n_documents"]
    ].tolist() == [3, 20]
    assert rows.loc["breaks", "failure"] == pytest.approx(0.5, abs=1e-3)
    assert rows.loc["breaks", "use_fresh"] == pytest.approx(-rows.loc["breaks", "failure"])
    assert (
        rows.loc["uses", "use_hard_window"] == pytest.approx(0.05, abs=1e-3)
        and rows.loc["uses", "use_hard_window_low"] > 0.04
    )
    assert np.isnan(rows.loc["no band", "use_hard_window"]) and np.isnan(
        rows.loc["gone", "failure"]
    )


def test_a_failures_interval_is_the_summarys(found):
    rows, summary = found
    row = rows[rows["scheme"] == "uses"].iloc[0]
    said = summary[
        (summary["scheme"] == "uses")
        & (summary["protocol"] == "matched")
        & (summary["eval_length"] == 32)
    ].iloc[0]
    for end in ("", "_low", "_high"):
        assert row[f"failure{end}"] == pytest.approx(said[f"loss_change{end}"])


def test_the_page_and_the_file_show_them(found, tmp_path):
    rows, summary = found
    page = markdown.summary([summary], {}, rows)
    assert (
        "| uses | uses |" in page
        and "| gone | refuses |" in page
        and "hard window in every layer" in page
    )
    assert "Fails, tolerates" not in markdown.summary([summary], {}, rows.iloc[:0])
    (path,) = verdicts.write(rows, tmp_path)
    assert path.read_text().splitlines()[0] == ",".join(verdicts.VERDICTS)
    assert verdicts.write(rows.iloc[:0], tmp_path) == [] and not path.exists()
    assert bootstrap.LEVEL == 0.95 and "95 % intervals, not corrected" in page
