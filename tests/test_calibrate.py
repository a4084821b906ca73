"""The published calibration: tables and page from small simulations, and the committed ones."""

from pathlib import Path

import pandas as pd
import pytest

from lengthgen.bench import intervals
from lengthgen.evaluation import records
from lengthgen.reporting import tables
from lengthgen.statistics import power

from .fake_runs import write_runs

COMMITTED = Path(__file__).parents[1] / "results" / "calibration"


@pytest.fixture(scope="module")
def pilot(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    write_runs(folder, ("t5_bias", "alibi"), n_documents=10)
    tables.publish(tables.collect(folder), folder / "main", {})
    return folder / "main"


def test_every_table_and_the_page(pilot, tmp_path, capsys):
    argv = ["--pilot", str(pilot), "--sets", "10", "--resamples", "20", "--comparisons", "10", "20"]
    for name in ("a", "b"):
        assert intervals.main(["--out", str(tmp_path / name), *argv]) == 0
    names = ("coverage.csv", "few_documents.csv", "same_scheme.csv", "power.csv", "summary.md")
    assert capsys.readouterr().out.split()[:5] == [str(tmp_path / "a" / name) for name in names]
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    coverage, same, found = (
        pd.read_csv(tmp_path / "a" / f"{name}.csv") for name in ("coverage", "same_scheme", "power")
    )
    assert list(coverage) == list(intervals.COVERAGE) and len(coverage) == 5 * 3 * 2 * 6
    assert (
        list(same) == list(intervals.SAME_SCHEME)
        and set(same["n_comparisons"]) == {10, 20}
        and len(same) == 2 * 3 * 2 * 8
    )
    row = same[same["rejected"] > 0].iloc[0]
    assert row["error"] == pytest.approx(
        (row["rejected"] * (1 - row["rejected"]) / row["n_comparisons"]) ** 0.5
    )
    assert list(found) == list(intervals.POWER) and len(found) == 9
    page = (tmp_path / "a" / "summary.md").read_text()
    assert (
        page.count("| two-way Student |") == 2
        and "by theory" in page
        and "It is **not** reached" in page
    )


def test_the_pilot_is_the_difference_four_times_past_the_training_length(pilot):
    found = intervals.pilot(pilot, ["t5_bias", "alibi"])
    documents = tables.read_table(pilot / "documents.csv", records.DOCUMENTS)
    at = documents[(documents["protocol"] == "matched") & (documents["eval_length"] == 2048)]
    means = at.groupby("scheme")[["loss_sum", "n_tokens"]].sum()
    means = means["loss_sum"] / means["n_tokens"]
    assert found.value[0] == pytest.approx(means["t5_bias"] - means["alibi"]) and found.n_seeds == 3


def test_to_the_goal_is_the_fewest_seeds(pilot):
    found = intervals.pilot(pilot, ["t5_bias", "alibi"])
    small = type(found)(found.sums / 20, found.n_tokens)
    for n_seeds, n_documents in intervals.to_the_goal(small):
        there, before = (
            power.table(small, 0, [seeds], [n_documents])[0] for seeds in (n_seeds, n_seeds - 1)
        )
        assert there["reaches_goal"] and not before["reaches_goal"]
    assert (
        intervals.to_the_goal(small)
        and intervals.to_the_goal(type(found)(found.sums * 20, found.n_tokens)) == []
    )


def test_a_pilot_that_is_not_there_is_one_line(pilot, tmp_path, capsys):
    assert (
        intervals.main(
            ["--out", str(tmp_path / "a"), "--pilot", str(pilot), "--schemes", "t5_bias,rope"]
        )
        == 2
    )
    printed = capsys.readouterr().err
    assert (
        "expected one setting with both schemes at 4 times its length" in printed
        and printed.count("\n") == 1
    )


# Wider than they need be: above 97 % (3 seeds: 97.3), to at most 97.4.
TOO_WIDE = {
    ("balanced", 3, 48), ("balanced", 5, 48),
    ("skewed documents", 10, 48), ("skewed documents", 10, 200),
}  # fmt: skip


def test_what_is_committed_keeps_the_aims():
    """95 % intervals cover 93 to 97 % (3 seeds: up to 97.3), A/A comparisons reject 2 to 8 %.

    Four of thirty cells cover more than that, and are named: no other may.
    """
    coverage, same = (
        pd.read_csv(COMMITTED / f"{name}.csv") for name in ("coverage", "same_scheme")
    )
    ours = coverage[coverage["method"] == "two-way Student"]
    assert len(ours) == 30 and set(ours["n_sets"]) == {1000}
    assert ours["covered"].between(0.93, 0.974).all()
    aim = ours["n_seeds"].map({3: 0.973}).fillna(0.97)
    above = ours[ours["covered"] > aim][["setting", "n_seeds", "n_documents"]]
    assert set(above.itertuples(index=False, name=None)) == TOO_WIDE
    tests = same[same["test"].isin(["two-way Student", "paired t"])]
    assert (
        set(tests["n_comparisons"]) == {200, 2000} and tests["rejected"].between(0.02, 0.08).all()
    )
