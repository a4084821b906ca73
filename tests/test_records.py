"""Files whole or not at all, tables as written, summaries against loops, equal bytes."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lengthgen import files
from lengthgen.errors import DataError, DiskError
from lengthgen.evaluation import records
from lengthgen.reporting import publication, tables
from lengthgen.reporting import summary as markdown

from .fake_runs import write_run, write_runs


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("project") / "results"
    write_runs(folder)
    return folder


@pytest.fixture(scope="module")
def collected(results) -> tables.Tables:
    return tables.collect(results)


def only(table: pd.DataFrame, **values) -> pd.Series:
    for column, value in values.items():
        table = table[table[column] == value]
    assert len(table) == 1, table
    return table.iloc[0]


# Files


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a" / "settings.json"
    files.write_json(path, {"lengths": np.arange(3), "mean": np.float32(0.5), "folder": Path("x")})
    with pytest.raises(RuntimeError), files.replacing(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert files.read_json(path) == {"lengths": [0, 1, 2], "mean": 0.5, "folder": "x"}
    assert os.listdir(path.parent) == ["settings.json"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_disk_faults_are_one_line(tmp_path, monkeypatch, number):
    def fail(descriptor):
        raise OSError(number, os.strerror(number))

    path = tmp_path / "table.csv"
    files.write_text(path, "old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DiskError) as caught:
        files.write_text(path, "new")
    assert (
        os.strerror(number) in str(caught.value)
        and "\n" not in str(caught.value)
        and caught.value.exit_code == 7
    )
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["table.csv"]


def test_a_folder_that_cannot_be_made_is_a_disk_error(tmp_path):
    (tmp_path / "runs").write_text("a file")
    for write in (
        lambda path: files.write_text(path, ""),
        lambda path: files.append_jsonl(path, {}),
    ):
        with pytest.raises(DiskError, match="cannot write"):
            write(tmp_path / "runs" / "x" / "metrics.jsonl")


def test_npz_has_equal_bytes_and_comes_back(tmp_path):
    arrays = {
        "loss": np.random.default_rng(0).random((3, 5)).astype(np.float32),
        "position": np.arange(5),
    }
    for name in ("a.npz", "b.npz"):
        files.write_npz(tmp_path / name, arrays)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz") as read:
        assert all(
            np.array_equal(read[name], array) and read[name].dtype == array.dtype
            for name, array in arrays.items()
        )


def test_several_processes_append_without_tearing(tmp_path):
    path = tmp_path / "metrics.jsonl"
    code = (
        "import sys; from lengthgen import files\n"
        "line = {'writer': sys.argv[2], 'text': 'x' * 20000}\n"
        "for step in range(50): files.append_jsonl(sys.argv[1], line | {'step': step})"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, path, str(number)]) for number in range(3)
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    found = files.read_jsonl(path)
    # No line is torn. A blank one may stand where a writer saw another in the middle of its line.
    assert len(found) == 150 == len([line for line in path.read_bytes().splitlines() if line])
    assert [record["step"] for record in found if record["writer"] == "1"] == list(range(50))


def test_a_line_torn_by_a_crash_costs_itself_only(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert files.read_jsonl(path) == []
    files.append_jsonl(path, {"step": 1, "loss": float("inf")})
    with open(path, "ab") as file:
        file.write(b'{"step": 2, "lo')
    files.append_jsonl(path, {"step": 3})
    assert files.read_jsonl(path) == [{"step": 1, "loss": float("inf")}, {"step": 3}]


def test_tables_have_exactly_their_columns(tmp_path):
    with pytest.raises(ValueError, match=r"lacks \['b'\].*unknown \['c'\]"):
        files.write_table(tmp_path / "t.csv", [{"a": 1, "c": 2}], ("a", "b"))
    files.write_table(
        tmp_path / "t.csv",
        [{"a": np.int64(3), "b": None}, {"a": 1 / 3, "b": 'say "x, y"'}],
        ("a", "b"),
    )
    assert (tmp_path / "t.csv").read_text() == 'a,b\n3,\n0.3333333333,"say ""x, y"""\n'


def test_names_that_look_like_numbers_or_nothing_stay_text(tmp_path, results):
    folder = write_run(
        tmp_path, "none", 0, setting="1e234567", evaluation="00123456", n_documents=2
    )
    path = folder / "evaluation" / "00123456" / "documents.csv"
    path.write_text(path.read_text().replace("lib/module_000.py", "NA"))
    table = tables.read_table(path, records.DOCUMENTS)
    assert (
        set(table["setting"]) == {"1e234567"}
        and set(table["evaluation"]) == {"00123456"}
        and set(table["scheme"]) == {"none"}
    )
    assert (
        "NA" in set(table["document"])
        and table["eval_length"].dtype == np.int64
        and table["loss_sum"].dtype == np.float64
    )


def test_a_broken_table_is_one_line(tmp_path):
    for content in (
        "",
        "a,b\n1,2\n",
        ",".join(records.LENGTHS) + "\n" + ",".join(["x"] * len(records.LENGTHS)) + "\n",
    ):
        (tmp_path / "lengths.csv").write_text(content)
        with pytest.raises(DataError) as caught:
            tables.read_table(tmp_path / "lengths.csv", records.LENGTHS)
        assert "lengths.csv" in str(caught.value) and "\n" not in str(caught.value)


# Runs


def test_runs_and_their_status(tmp_path):
    done, unfinished = (
        write_run(tmp_path, "alibi", 0, n_documents=2),
        write_run(tmp_path, "alibi", 1, n_documents=2),
    )
    (unfinished / "done.json").unlink()
    (unfinished / "evaluation" / "00123456" / "positions.csv").unlink()
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "config.yaml").write_text("a: [")
    found = {run.name: run for run in records.runs(tmp_path)}
    assert {name: run.status for name, run in found.items()} == {
        done.name: "done",
        unfinished.name: "unfinished",
        "broken": "unreadable",
    }
    assert found[done.name].config == {"seed": 0, "train_length": 512, "scheme": {"name": "alibi"}}
    assert found[done.name].provenance["device"] == "cpu" and found["broken"].provenance == {}
    assert len(found[done.name].evaluations) == 1 and found[unfinished.name].evaluations == []
    assert set(tables.collect(tmp_path).lengths["run"]) == {done.name}
    assert records.runs(tmp_path / "nowhere") == []


# Tables over runs


def test_summary_against_loops(collected):
    summary = tables.summarise(collected.documents, collected.lengths)
    assert list(summary.columns) == list(tables.SUMMARY) and len(summary) == 3 * 2 * 7
    row = only(summary, scheme="alibi", protocol="matched", eval_length=1024)
    rows = collected.documents.query("scheme == 'alibi' and protocol == 'matched'")
    at = {length: rows[rows["eval_length"] == length] for length in (512, 1024)}
    means = {length: part["loss_sum"].sum() / part["n_tokens"].sum() for length, part in at.items()}
    assert row["loss"] == pytest.approx(means[1024]) and row["perplexity"] == pytest.approx(
        np.exp(means[1024])
    )
    assert row["perplexity_high"] == pytest.approx(np.exp(row["loss_high"]))
    assert row["bits_per_byte"] == pytest.approx(
        at[1024]["loss_sum"].sum() / np.log(2) / at[1024]["n_bytes"].sum()
    )
    assert row["loss_change"] == pytest.approx(means[1024] - means[512])
    assert (
        row["loss_change_low"] < row["loss_change"] < row["loss_change_high"] < 0
    )  # seen, though the bands of the losses overlap
    assert (
        row["loss_low"]
        < only(summary, scheme="alibi", protocol="matched", eval_length=512)["loss"]
        < row["loss_high"]
    )
    assert (row["n_seeds"], row["n_documents"]) == (3, 40)
    assert row["n_tokens"] == at[1024]["n_tokens"].sum() / 3
    assert (
        summary.query("protocol == 'nonoverlapping'")["loss_change"].isna().all()
    )  # other texts at each length


def test_several_seeds_have_the_interval_of_the_verdicts(collected):
    """Student over seeds and documents, from the formulas, with documents of unequal size."""
    rows = collected.documents.query("scheme == 'alibi' and protocol == 'matched'")
    sums = rows.pivot_table(index="seed", columns=["eval_length", "document"], values="loss_sum")
    tokens = (
        rows.query("seed == 0 and eval_length == 512")
        .set_index("document")["n_tokens"]
        .sort_index()
        .to_numpy()
    )
    change = (sums[1024] - sums[512]).to_numpy()  # (S, D)
    value = change.sum() / (3 * tokens.sum())
    table = value + (change - value * tokens) / tokens.mean()  # linearised ratio
    seed, document, mean = table.mean(axis=1), table.mean(axis=0), table.mean()
    squares = (
        40 * seed.var(ddof=1),
        3 * document.var(ddof=1),
        ((table - seed[:, None] - document + mean) ** 2).sum() / (2 * 39),
    )
    parts = np.array([squares[0], max(squares[1] - squares[2], 0)]) / 120
    half = (parts * stats.t.ppf(0.975, [2, 39])).sum() / parts.sum() * np.sqrt(parts.sum())
    row = only(
        tables.summarise(collected.documents, collected.lengths),
        scheme="alibi",
        protocol="matched",
        eval_length=1024,
    )
    assert [row["loss_change"], row["loss_change_low"], row["loss_change_high"]] == pytest.approx(
        [value, value - half, value + half]
    )


def test_one_seed_has_the_interval_that_its_run_was_given(tmp_path):
    write_run(tmp_path, "t5_bias", 0)
    found = tables.collect(tmp_path)
    summary = tables.summarise(found.documents, found.lengths)
    for metric, name in (("loss", "loss"), ("loss_change", "loss_change")):
        written = only(found.lengths, metric=metric, protocol="matched", eval_length=1024)
        row = only(summary, protocol="matched", eval_length=1024)
        assert [row[name], row[f"{name}_low"], row[f"{name}_high"]] == pytest.approx(
            list(written[["value", "low", "high"]]), abs=1e-8
        )


def test_refused_lengths_stay_visible(collected):
    summary = tables.summarise(collected.documents, collected.lengths)
    row = only(summary, scheme="learned", protocol="matched", eval_length=640)
    assert (
        row["status"] == "refused"
        and "tail=refuse" in row["reason"]
        and np.isnan(row["loss"])
        and row["n_seeds"] == 0
    )
    assert only(summary, scheme="learned", protocol="matched", eval_length=512)["status"] == "ok"


def test_some_seeds_without_a_value(collected):
    def with_status(status):
        lengths = collected.lengths.copy()
        lost = (
            (lengths["scheme"] == "alibi")
            & (lengths["seed"] == 1)
            & (lengths["eval_length"] == 2048)
        )
        lengths.loc[lost, ["status", "reason"]] = [status, "why"]
        lengths.loc[lost, ["value", "low", "high"]] = np.nan
        documents = collected.documents
        documents = documents[
            ~(
                (documents["scheme"] == "alibi")
                & (documents["seed"] == 1)
                & (documents["eval_length"] == 2048)
            )
        ]
        return only(
            tables.summarise(documents, lengths),
            scheme="alibi",
            protocol="matched",
            eval_length=2048,
        )

    row = with_status("oom")
    assert (row["status"], row["n_seeds"], row["reason"]) == (
        "ok",
        2,
        "seed 1: why",
    ) and np.isfinite(row["loss"])
    assert (
        row["loss_low"] < row["loss"] < row["loss_high"]
        and row["loss_change_low"] < row["loss_change_high"]
    )
    row = with_status("nonfinite")
    assert (row["status"], row["n_seeds"]) == ("nonfinite", 0) and np.isnan(row["loss"])


def test_settings_and_evaluations_are_never_mixed(tmp_path):
    write_run(tmp_path, "alibi", 0, n_documents=3)
    write_run(tmp_path, "alibi", 0, n_documents=3, setting="22222222")
    found = tables.collect(tmp_path)
    summary = tables.summarise(found.documents, found.lengths)
    assert len(summary) == 2 * 2 * 7 and set(summary["n_seeds"]) == {1}


def test_positions_over_seeds(collected):
    bins = tables.positions_over_seeds(collected.positions)
    row = only(bins, scheme="alibi", position=1024)
    raw = collected.positions.query("scheme == 'alibi' and position == 1024")
    assert row["value"] == pytest.approx(raw["value"].mean()) and row["n_seeds"] == 3
    assert row["n_tokens"] == 3000
    error = (
        (raw["high"] - raw["low"]).mean() / 2 / 1.959964
    )  # of one seed, over documents: the same for each here
    parts = np.array([raw["value"].var() / 3, error**2])
    quantile = (parts * stats.t.ppf(0.975, [2, 39])).sum() / parts.sum()
    assert row["high"] - row["value"] == pytest.approx(quantile * np.sqrt(parts.sum()), rel=1e-5)
    assert row["value"] - row["low"] == pytest.approx(row["high"] - row["value"])
    alone = tables.positions_over_seeds(collected.positions.query("seed == 0"))
    assert only(alone, scheme="alibi", position=1024)["low"] == pytest.approx(
        raw.query("seed == 0")["low"].item()
    )


def test_publishing_gives_equal_bytes_whatever_the_order(collected, tmp_path):
    shuffled = tables.Tables(
        *(getattr(collected, name).sample(frac=1, random_state=1) for name in records.TABLES)
    )
    for name, content in (("a", collected), ("b", shuffled)):
        tables.publish(content, tmp_path / name, {"note": "n"})
    files = sorted(os.listdir(tmp_path / "a"))
    assert files == [
        "documents.csv",
        "lengths.csv",
        "positions.csv",
        "provenance.json",
        "summary.csv",
    ]
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file
    assert tables.published(tmp_path) == [tmp_path / "a", tmp_path / "b"]
    back = tables.read_table(tmp_path / "a" / "documents.csv", records.DOCUMENTS)
    pd.testing.assert_frame_equal(back, tables.sort(collected.documents))
    schemes = tables.read_table(tmp_path / "a" / "summary.csv", tables.SUMMARY)["scheme"]
    assert list(dict.fromkeys(schemes)) == ["learned", "t5_bias", "alibi"]  # the palette's order


def test_provenance_gathers_each_distinct_thing_once(results):
    made = publication.provenance(records.runs(results))
    assert (
        len(made["runs"]) == 9
        and made["seeds"] == [0, 1, 2]
        and made["commits"] == ["c0ffee"]
        and made["threads"] == [2]
    )
    assert "lengthgen train scheme=alibi seed=2" in made["commands"] and len(made["commands"]) == 9
    json.dumps(made)


def test_provenance_names_no_folder_of_the_machine(tmp_path):
    folder = write_run(tmp_path, "alibi", 0, n_documents=2)
    files.write_json(
        folder / "provenance.json",
        {"command": ["/somewhere/bin/lengthgen", "train", "scheme=t5_bias(a=1)"]},
    )
    assert publication.provenance(records.runs(tmp_path))["commands"] == [
        "lengthgen train 'scheme=t5_bias(a=1)'"
    ]


def test_markdown_shows_losses_changes_and_refusals(collected):
    summary = tables.summarise(collected.documents, collected.lengths)
    page = markdown.summary([summary], {"note": "Why.", "commits": ["c0ffee"]})
    lines = page.splitlines()
    assert "Why." in lines and "- `c0ffee`" in lines and page.endswith("\n")
    learned = [line for line in lines if line.startswith("| learned |")]
    assert len(learned) == 3 and all(line.count("refuses") == 5 for line in learned)
    assert any(
        line.startswith("| scheme | 256 | 512 | 640 | 768 | 1024 | 1536 | 2048 |") for line in lines
    )
    assert any("| 0 |" in line and line.startswith("| alibi |") for line in lines)
