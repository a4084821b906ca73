"""What a publication could have seen: the numbers, and its page with several seeds and one."""

import numpy as np
import pandas as pd
import pytest

from lengthgen.reporting import detectable, tables
from lengthgen.reporting import summary as markdown
from lengthgen.statistics import power
from lengthgen.statistics.losses import Losses

from .fake_runs import write_runs


def made(folder, **more) -> tuple[tables.Tables, pd.DataFrame, pd.DataFrame]:
    write_runs(folder, ("t5_bias", "alibi", "learned"), n_documents=12, **more)
    found = tables.collect(folder)
    summary = tables.summarise(found.documents, found.lengths)
    return found, summary, detectable.table(found.documents, summary)


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    return made(tmp_path_factory.mktemp("several"))


def test_a_row_for_each_scheme_and_each_pair_at_every_length_beyond(several):
    rows = several[2]
    assert (
        set(rows["eval_length"]) == {640, 768, 1024, 1536, 2048} and len(rows) == 5 * 3
    )  # learned has no value there
    at = rows[rows["eval_length"] == 1024]
    assert at[["kind", "scheme", "baseline"]].to_numpy().tolist() == [
        ["change", "t5_bias", ""], ["change", "alibi", ""], ["difference", "t5_bias", "alibi"],
    ]  # fmt: skip
    assert (rows["standard_error"] < rows["detectable"]).all() and (
        rows["detectable"] < rows["cautious"]
    ).all()
    assert set(rows["n_seeds"]) == {3} and set(rows["n_documents"]) == {12}


@pytest.mark.parametrize(
    ("kind", "scheme", "ends"),
    [("difference", "t5_bias", ("alibi", 1024)), ("change", "alibi", ("alibi", 512))],
)
def test_the_numbers_are_those_of_a_pilot_of_the_same_size(several, kind, scheme, ends):
    found, _, rows = several
    own = found.documents[found.documents["train_length"] == 512]
    other, length = ends
    one, other = (
        Losses.of_rows(own[(own["scheme"] == name) & (own["protocol"] == "matched")]).at(at)
        for name, at in ((scheme, 1024), (other, length))
    )
    paired = one.minus(other)
    (expected,) = power.table(paired, 0, [3], [12])
    row = rows[
        (rows["kind"] == kind) & (rows["scheme"] == scheme) & (rows["eval_length"] == 1024)
    ].iloc[0]
    for name in ("standard_error", "detectable", "cautious"):
        assert row[name] == pytest.approx(expected[name])
    assert row["sd_seed"] == pytest.approx(np.sqrt(power.of(paired).parts.seed[0]))


def test_the_page_shows_each_change_and_the_median_and_worst_pair(several):
    _, summary, rows = several
    page = markdown.summary([summary], {}, detectable_rows=rows)
    assert (
        "3 seeds and 12 documents detect with probability 0.8" in page
        and "unknown" not in page.partition("Smallest detectable")[2][:600]
    )
    change = rows[(rows["kind"] == "change") & (rows["scheme"] == "alibi")].sort_values(
        "eval_length"
    )
    cells = " | ".join(f"{row.detectable:.4f} [{row.cautious:.4f}]" for row in change.itertuples())
    assert f"| change of alibi | {cells} |" in page
    between = rows[rows["kind"] == "difference"].sort_values(
        "eval_length"
    )  # of two schemes: one pair, its own median and worst
    for title in ("median", "worst"):
        assert f"| between two schemes, {title} | {between['detectable'].iloc[0]:.4f} [" in page


def test_median_and_worst_of_many_pairs():
    rows = pd.DataFrame(
        [{"kind": "difference", "scheme": str(i), "baseline": "x", "eval_length": 32, "n_seeds": 3,
         "n_documents": 9, "detectable": x,
          "cautious": 2 * x} for i, x in enumerate((0.3, 0.1, 0.2, 0.5, 0.4))]
    )  # fmt: skip
    page = "\n".join(markdown._power(rows))
    assert "median | 0.3000 [0.6000] |" in page and "worst | 0.5000 [1.0000] |" in page


def test_one_seed_says_that_seeds_are_unknown(tmp_path):
    _, summary, rows = made(tmp_path, seeds=(0,))
    assert (
        rows["cautious"].isna().all()
        and rows["sd_seed"].isna().all()
        and (rows["detectable"] > rows["standard_error"]).all()
    )
    page = markdown.summary([summary], {}, detectable_rows=rows)
    assert (
        "With one seed, the variation between seeds is unknown" in page
        and "1 seed and 12 documents" in page
    )


def test_the_file_goes_with_its_rows(several, tmp_path):
    rows = several[2]
    (path,) = detectable.write(rows, tmp_path)
    assert path.read_text().splitlines()[0] == ",".join(detectable.POWER)
    assert detectable.write(rows.iloc[:0], tmp_path) == [] and not path.exists()
