"""`lengthgen compare`: a publication's numbers and words in one table, for people and programs."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pandas as pd
import pytest

from lengthgen.cli import compare, main, multirun
from lengthgen.exporting import lm_eval_comparison, lm_eval_schema
from lengthgen.reporting import comparison, comparison_table, published_folder, tables, verdicts

from .fake_runs import write_run, write_runs

ROOT = Path(__file__).parent.parent
PUBLISHED = ROOT / "results" / "length_512"


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """Four schemes with three seeds at 512, one of them with one at 1024 as well."""
    folder = tmp_path_factory.mktemp("written") / "results"
    write_runs(folder, ("alibi", "none", "rope", "learned"), n_documents=10)
    write_run(folder, "alibi", 0, train_length=1024, n_documents=10)
    return folder


@pytest.fixture
def results(written, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(written, tmp_path / "results")


@pytest.fixture(scope="module")
def groups(written):
    return comparison.groups(comparison.of_runs(tables.collect(written)))


@pytest.fixture(scope="module")
def of_published():
    return comparison.groups(published_folder.read(PUBLISHED))


def printed(capsys, *words: str) -> str:
    assert main.main(["compare", *words]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out


# Numbers and words


def test_numbers_and_words_are_those_of_the_publication(of_published):
    (group,) = of_published
    summary = tables.read_table(PUBLISHED / "summary.csv", tables.SUMMARY)
    words = pd.read_csv(PUBLISHED / "verdicts.csv")
    said = {(row["scheme"], row["eval_length"]): row["word"] for row in tables.as_rows(words)}
    known = {
        (row["scheme"], row["eval_length"]): row
        for row in tables.as_rows(summary[summary["protocol"] == "matched"])
    }
    assert {(row["scheme"], row["eval_length"]) for row in group.rows} == set(known)
    for row in group.rows:
        key = row["scheme"], row["eval_length"]
        assert row["word"] == said.get(key, "") and row["n_seeds"] == 3
        for name in ("loss", "loss_low", "loss_change", "loss_change_high", "below_bigram"):
            assert row[name] == pytest.approx(known[key][name], rel=1e-8)
    assert set(said.values()) == {"fails", "uses", "undecided"}
    assert group.bigram == pytest.approx(2.27713, abs=1e-5)
    assert group.measure == "loss_change" and group.train_length == 512


def test_words_are_the_same_without_the_utilisation():
    """On data with an exact floor, where the corpus gate is tried."""
    read = published_folder.read(ROOT / "results" / "demo")
    summary = tables.read_table(ROOT / "results" / "demo" / "summary.csv", tables.SUMMARY)
    summary = summary[(summary["scheme"] == "alibi") & (summary["eval_length"] <= 96)]
    both = [
        verdicts.table(read.tables.documents, summary, read.note, read.references, utilisation=each)
        for each in (True, False)
    ]
    columns = ["scheme", "eval_length", "word", "gate", "gate_reason", "failure", "reason"]
    pd.testing.assert_frame_equal(*(rows[columns] for rows in both))
    assert verdicts.tried(both[1]) and both[1]["utilisation"].isna().all()
    assert both[0]["use_reference"].notna().any()


def test_what_is_not_comparable_is_another_group(groups):
    assert [group.train_length for group in groups] == [512, 1024]
    assert [group.schemes for group in groups] == [["none", "learned", "rope", "alibi"], ["alibi"]]
    assert groups[0].runs["rope"] == [f"rope-512-s{seed}-1e234567" for seed in (0, 1, 2)]


def test_a_word_rests_on_none_though_it_is_not_shown(results, capsys):
    """Positions are in use if the loss is below that of `none`, which --where leaves out."""
    all_rows = list(csv.DictReader(io.StringIO(printed(capsys, "--csv"))))
    words = ["--csv", "--where", "scheme=alibi", "train_length=512"]
    rows = list(csv.DictReader(io.StringIO(printed(capsys, *words))))
    assert rows == [
        {key: row[key] for key in rows[0]}
        for row in all_rows
        if (row["scheme"], row["train_length"]) == ("alibi", "512")
    ]
    assert {row["word"] for row in rows} == {"", "positions not in use"}


def test_questions_with_answers_show_exact_match():
    shared = dict(zip(tables.GROUP, ("mqar", "nano", 64, 9, "s", "e"), strict=True))
    row = dict.fromkeys(comparison.COLUMNS) | {
        "scheme": "rope", "n_seeds": 1, "n_documents": 16, "n_tokens": 32, "status": "ok",
        "word": "", "reasons": [], "loss": 0.5, "loss_low": 0.4, "loss_high": 0.6,
    }  # fmt: skip
    rows = [
        row | {"eval_length": length, **dict(zip(tables.ends("exact_match"), found, strict=True))}
        for length, found in ((64, (0.9, 0.8, 0.95)), (128, (0.25, 0.1, 0.5)))
    ]
    group = comparison.Group(shared | {"protocol": "whole"}, rows, {"rope": ["x"]})
    text = comparison_table.terminal([group], 80)
    assert group.measure == "exact_match" and "exact match at" in text
    assert "0.250" in text and "[0.100, 0.500]" in text and "0.500" in text
    assert "32 (0.5×)" not in text and "64 (1×)" in text and "0.900" in text
    assert "whose whole answer is right" in " ".join(text.split())


# For people


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_fits_the_terminal(of_published, groups, width):
    for found in (of_published, groups):
        text = comparison_table.terminal(found, width)
        assert max(map(len, text.splitlines())) <= width
        for group in found:
            for length in group.lengths[2:]:
                assert f"{length:,} ({length / group.train_length:.3g}×)" in text


def test_a_scheme_is_a_row_with_losses_changes_words_and_seeds(of_published):
    lines = comparison_table.terminal(of_published, 200).splitlines()
    assert lines[0] == "python, tiny model, trained at 512 tokens for 6,000 steps"
    rope = next(number for number, line in enumerate(lines) if line.startswith("rope"))
    cells = [re.split(r"  +", line.strip()) for line in lines[rope : rope + 2]]
    assert cells[0][:3] == ["rope", "0.951", "+0.392 fails"]
    assert cells[1][:3] == ["3 seeds", "[0.832, 1.073]", "[+0.352, +0.431]"]
    assert any(re.fullmatch(r"\(bigram table\) +2\.277", line) for line in lines)
    told = " ".join(lines)
    assert "11,904 tokens of 48 documents" in told and "two-way Student" in told
    for word in ("fails: ", "uses: ", "undecided: ", "not corrected for the number of cells"):
        assert word in told
    assert "untrained: " not in told and "corpus gate" in told


def test_headings_say_what_is_shared_and_tell_alike_groups_apart(groups, tmp_path):
    text = comparison_table.terminal(groups, 120)
    assert "trained at 512 tokens for 3,000 steps\n" in text and "at 1,024 tokens" in text
    for evaluation in ("00000001", "00000002"):
        write_run(tmp_path, "alibi", 0, evaluation=evaluation, n_documents=8)
    found = comparison.groups(comparison.of_runs(tables.collect(tmp_path)))
    text = comparison_table.terminal(found, 120)
    assert "(setting 1e234567, evaluation 00000001)" in text and "evaluation 00000002)" in text


def test_a_length_without_a_value_says_why(groups):
    text = comparison_table.terminal(groups, 120)
    learned = next(line for line in text.splitlines() if line.startswith("learned "))
    assert learned.split()[2:] == ["refuses"] * 5
    assert "learned: learned positions exist for 0..511 and tail=refuse" in text


def test_what_holds_at_the_training_length_is_said_once(groups):
    text = comparison_table.terminal(groups[:1], 120)
    alibi = text[text.index("\nalibi ") :].split("\n\n")[0]
    assert alibi.count("positions not") == 1 and "uses" not in alibi
    assert "positions not in use: at the training length" in text


def test_no_zero_has_a_minus(groups):
    row = dict(groups[1].rows[-1], loss_change=-0.0001, loss_change_low=-0.0002, word="tolerates")
    group = comparison.Group(groups[1].shared, [*groups[1].rows[:-1], row], groups[1].runs)
    text = comparison_table.terminal([group], 120)
    assert "+0.000 tolerates" in text and "-0.000" not in text


def test_long_labels_break_at_their_options(groups):
    label = "t5_bias(num_buckets=64, max_distance=256)+yarn(factor=4)"
    rows = [row | {"scheme": label} for row in groups[1].rows]
    text = comparison_table.terminal([comparison.Group(groups[1].shared, rows, {})], 80)
    assert max(map(len, text.splitlines())) <= 80
    for part in ("t5_bias(num_buckets=64,", "  max_distance=256)+yarn", "  (factor=4)"):
        assert part in text


def test_chosen_lengths_are_the_columns(results, capsys):
    text = printed(capsys, "--lengths", "768,2048", "--where", "train_length=512")
    assert "768 (1.5×)" in text and "2,048 (4×)" in text and "1,024" not in text


def test_a_published_folder(capsys):
    assert "+2.454 fails" in printed(capsys, str(PUBLISHED), "--lengths", "640")


def test_the_terminal_decides_the_width(results, capsys, monkeypatch):
    widths = []
    for columns in ("70", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        widths.append(max(map(len, printed(capsys).splitlines())))
    assert widths[0] <= 70 < widths[1] <= 200


# For programs


def test_json_holds_every_number_and_no_nan(results, capsys):
    def refuse(constant):
        raise AssertionError(constant)

    content = json.loads(printed(capsys, "--json"), parse_constant=refuse)
    first, second = content["groups"]
    assert (first["train_length"], second["train_length"]) == (512, 1024)
    assert first["dataset"] == "python" and first["bigram"] is None
    schemes = {each["scheme"]: each for each in first["schemes"]}
    assert list(schemes) == ["none", "learned", "rope", "alibi"]
    assert schemes["rope"]["runs"] == [f"rope-512-s{seed}-1e234567" for seed in (0, 1, 2)]
    last = schemes["none"]["lengths"][-1]
    assert (last["eval_length"], last["word"], last["n_seeds"]) == (2048, "fails", 3)
    change = last["loss_change"]
    assert 0.01 < change["low"] < change["value"] < change["high"] and change["value"] > 0.5
    refused = schemes["learned"]["lengths"][-1]
    assert refused["loss"] is None and refused["status"] == "refused" and refused["reason"]


def test_csv_has_a_row_for_each_scheme_and_length(results, capsys):
    rows = list(csv.DictReader(io.StringIO(printed(capsys, "--csv"))))
    assert len(rows) == 5 * 7
    at = {(r["scheme"], r["train_length"], r["eval_length"]): r for r in rows}
    assert at["none", "512", "2048"]["word"] == "fails"
    assert at["none", "512", "512"]["word"] == "" and "excess" not in rows[0]
    assert float(at["none", "512", "2048"]["loss_change"]) > 0.5


def test_latex_is_a_tabular_of_booktabs(of_published):
    text = comparison_table.latex(of_published, [640, 2048])
    assert text.startswith("% \\usepackage{booktabs}\n% python, tiny model, trained at 512")
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") for line in body} == {3}
    assert text.count(r"\begin{tabular}{llll}") == text.count(r"\end{tabular}") == 1
    for rule in ("toprule", "midrule", "bottomrule"):
        assert text.count(rf"\{rule}") == 1
    assert r"t5\_bias & 0.977 & $-$0.003 undecided" in text
    assert re.search(r"3 seeds & \[0\.828, 1\.130\] & \[\$-\$0\.015, \+0\.008\]", text)
    assert not re.search(r"(?<![$])-\d", "\n".join(body))


def test_a_file_is_written_and_replaced_only_if_asked(results, tmp_path, capsys):
    place = tmp_path / "table.tex"
    assert printed(capsys, "--latex", "--to", str(place)) == f"{place}\n"
    before = place.read_bytes()
    assert before.startswith(b"% ") and before.endswith(b"\\end{tabular}\n")
    assert main.main(["compare", "--csv", "--to", str(place)]) == 2
    told = capsys.readouterr().err
    assert "--overwrite" in told and told.count("\n") == 1 and place.read_bytes() == before
    printed(capsys, "--csv", "--to", str(place), "--overwrite")
    assert place.read_text().startswith("dataset,model,")


def test_no_torch_is_loaded(results):
    code = (
        "import sys; from lengthgen.cli.main import main\n"
        "for words in ([], ['--json'], ['--json', 'lm-eval'], ['--csv'], ['--latex']):\n"
        "    assert main(['compare', '--where', 'train_length=1024', *words]) == 0\n"
        "assert not {'torch', 'matplotlib', 'hydra', 'wandb'} & set(sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr


# As results of lm-evaluation-harness


def test_lm_eval_has_a_task_for_each_scheme_and_length(of_published):
    content = lm_eval_comparison.content(of_published, ROOT / "results")
    assert len(content["results"]) == 6 * 7
    name = "lengthgen_python_matched_2048_t5_bias"
    one, metadata = content["results"][name], content["configs"][name]["metadata"]
    row = next(r for r in of_published[0].rows if r["scheme"] == "t5_bias" and
               r["eval_length"] == 2048)  # fmt: skip
    assert one["loss,none"] == row["loss"] and metadata["word"] == row["word"] == "undecided"
    assert one["bits_per_byte,none"] == pytest.approx(row["bits_per_byte"])
    assert metadata["interval_95"]["loss_change"] == [row["loss_change_low"],
                                                      row["loss_change_high"]]  # fmt: skip
    assert metadata["n_seeds"] == 3 and len(metadata["runs"]) == 3
    for key in ("configs", "versions", "n-shot", "higher_is_better", "n-samples"):
        assert set(content[key]) == set(content["results"])


def test_lm_eval_tells_groups_apart_and_symbols_have_no_bytes(groups):
    content = lm_eval_comparison.content(groups, Path("nowhere"))
    assert len(content["results"]) == 4 * 7 - 5 + 7  # without the lengths that learned refuses
    assert "lengthgen_python_matched_2048_alibi_tiny_L1024_1e234567_00123456" in content["results"]
    demo = comparison.groups(published_folder.read(ROOT / "results" / "demo"))
    for values in lm_eval_comparison.content(demo, Path("nowhere"))["results"].values():
        assert "bits_per_byte,none" not in values and "loss,none" in values


def test_labels_that_differ_in_signs_alone_are_two_tasks(groups):
    rows = [groups[1].rows[-1] | {"scheme": scheme} for scheme in ("a(b=1)", "a(b-1)")]
    group = comparison.Group(groups[1].shared, rows, {})
    assert list(lm_eval_comparison.content([group], Path("nowhere"))["results"]) == [
        "lengthgen_python_matched_4096_a_b_1_", "lengthgen_python_matched_4096_a_b_1__2",
    ]  # fmt: skip


def test_the_metrics_of_a_loss():
    assert lm_eval_schema.measured(0.0) == {"loss": 0.0, "token_perplexity": 1.0}
    assert lm_eval_schema.measured(1.0, 0.5)["bits_per_byte"] == pytest.approx(0.7213475)
    assert lm_eval_schema.measured(9999.0)["token_perplexity"] == float("inf")


def test_the_harness_reads_the_comparison(capsys):
    utils = pytest.importorskip("lm_eval.utils")
    wandb_logger = pytest.importorskip("lm_eval.loggers.wandb_logger")
    content = json.loads(printed(capsys, str(PUBLISHED), "--json", "lm-eval"))
    table = utils.make_table(content)
    for task, values in content["results"].items():
        assert task in table and f"{values['bits_per_byte,none']:.4f}" in table
    logger = object.__new__(wandb_logger.WandbLogger)  # without a run of its own
    logger.post_init(content)
    _, found = logger._sanitize_results_dict()
    for task, values in content["results"].items():
        assert found[f"{task}/loss"] == pytest.approx(values["loss,none"])


# Faults


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--where", "scheme=alib"], "has scheme=alib; nearest: alibi"),
        (["--where", "scheme"], "expected KEY=VALUE"),
        (["scheme=alibi"], "for runs write --where scheme=alibi"),
        (["nowhere"], "nowhere: expected a published folder"),
        (["results"], "results: expected a published folder"),
        (["--where", "seed=0", "--lengths", "7"], "--lengths 7: not evaluated; expected some of"),
        (["--lengths", "a"], "expected whole numbers"),
        (["--json", "xml"], "invalid choice: 'xml'"),
        (["--json", "--csv"], "not allowed with argument"),
        (["--results", "empty"], "no finished evaluation in empty/runs; run `lengthgen train`"),
        ([str(PUBLISHED), "--where", "seed=0"], "give one of the two"),
    ],
)
def test_mistakes_are_one_line(results, capsys, words, says):
    assert main.main(["compare", *words]) == 2
    shown = capsys.readouterr()
    assert says in shown.err and shown.err.count("\n") == 1 and shown.out == ""


def test_what_is_damaged_is_named_and_the_others_are_compared(results, capsys):
    (path,) = results.glob("runs/rope-512-s1-*/evaluation/*/documents.csv")
    path.write_text("run,scheme\n")
    assert main.main(["compare", "--where", "train_length=512"]) == 3
    shown = capsys.readouterr()
    rope = shown.out[shown.out.index("\nrope ") :].splitlines()[2]
    assert "2 seeds" in rope and shown.out.count("3 seeds") == 3
    assert "rope-512-s1-1e234567" in shown.err and shown.err.count("\n") == 1
    # Of others it says nothing.
    assert "alibi" in printed(capsys, "--where", "scheme=alibi", "seed=0")


# After a sweep


@pytest.fixture
def trainings(monkeypatch, tmp_path):
    """lengthgen.runs.run writes made-up results in an empty folder."""
    stub = ModuleType("lengthgen.runs.run")

    def train(config, folders, begun=None):
        if config.seed == 9:
            raise ZeroDivisionError("a fault")
        folder = write_run(Path(config.results), config.scheme.name, config.seed, n_documents=10)
        (evaluation,) = (folder / "evaluation").iterdir()
        return SimpleNamespace(run_id=folder.name, status="trained", evaluation=evaluation)

    stub.train = stub.evaluate = train
    monkeypatch.setitem(sys.modules, "lengthgen.runs.run", stub)
    monkeypatch.setattr("lengthgen.runs.run", stub, raising=False)
    monkeypatch.setattr("lengthgen.runs.process.prepare_environment", lambda: None)
    monkeypatch.setattr("lengthgen.runs.before_torch.train", lambda config, folders: None)
    monkeypatch.chdir(tmp_path)


def test_a_sweep_ends_with_the_table_of_its_runs(trainings, tmp_path, capsys):
    write_run(tmp_path / "results", "sinusoidal", 0, n_documents=10)  # of another command
    assert main.main(["train", "-m", "scheme=rope,alibi", "seed=0,1"]) == 0
    shown = capsys.readouterr().out
    jobs, table = shown[shown.index("job  run") :].split("\n\n", 1)
    assert [line.split()[2] for line in jobs.splitlines()[1:]] == ["trained"] * 4
    assert re.search(r"^rope  +1\.\d+ .*undecided", table, re.MULTILINE)
    assert table.count("2 seeds") == 2
    assert "alibi " in table and "sinusoidal" not in table
    assert table.rstrip().endswith(multirun.AGAIN)
    assert main.main(["compare", "--where", "scheme=rope,alibi"]) == 0
    again = capsys.readouterr().out
    assert again.rstrip() == table.removesuffix(f"\n\n{multirun.AGAIN}\n").rstrip()


def test_a_sweep_that_failed_in_part_compares_the_rest(trainings, capsys):
    assert main.main(["train", "-m", "scheme=alibi", "seed=0,9"]) == 1
    shown = capsys.readouterr()
    assert re.search(r"^alibi  +1\.\d", shown.out, re.MULTILINE) and "1 seed" in shown.out
    assert main.main(["train", "-m", "scheme=alibi", "seed=9"]) == 1
    assert multirun.AGAIN not in capsys.readouterr().out


def test_after_a_sweep_of_retrofits_the_run_without_one_stands_beside(tmp_path):
    plain, changed, other = "00000001", "00000002", "00000003"
    run = write_run(tmp_path, "rope", 0, n_documents=10, evaluation=plain)
    for name, scheme, settings in ((changed, "rope+yarn", plain), (other, "rope", other)):
        shutil.copytree(run / "evaluation" / plain, run / "evaluation" / name)
        for path in (run / "evaluation" / name).glob("*.csv"):
            rows = pd.read_csv(path).assign(scheme=scheme, evaluation=settings)
            rows.to_csv(path, index=False)
    text = compare.after_sweep(tmp_path, [run / "evaluation" / changed])
    assert re.findall(r"^rope\S*", text, re.MULTILINE)[:2] == ["rope", "rope+yarn"]
    assert other not in text and compare.after_sweep(tmp_path, []) == ""


# `lengthgen list runs`


def test_list_runs_shows_losses(results, capsys):
    assert main.main(["list", "runs", "--where", "train_length=512", "seed=0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("loss at L  at the longest") and "nats a token" in " ".join(lines)
    cells = {line.split()[0].partition("-")[0]: re.split(r"  +", line) for line in lines[2:6]}
    lengths = pd.read_csv(next(results.glob("runs/rope-512-s0-*/evaluation/*/lengths.csv")))
    loss = lengths[(lengths["protocol"] == "matched") & (lengths["metric"] == "loss")]
    at = dict(zip(loss["eval_length"], loss["value"], strict=True))
    assert cells["rope"][-2:] == [f"{at[512]:.3f}", f"{at[2048]:.3f} at 2,048"]
    assert cells["learned"][-1] == "refuses at 2,048"


def test_a_narrow_terminal_leaves_out_what_the_id_says(results, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main.main(["list", "runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert {"run", "steps", "status", "loss"} <= set(lines[0].split())
    assert "dataset" not in lines[0]
