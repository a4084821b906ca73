"""lm-evaluation-harness: its readers take our results, and on the same windows it measures ours."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from lengthgen import load_run
from lengthgen.cli import main
from lengthgen.exporting import lm_eval_results
from lengthgen.runs import run
from lengthgen.runs.folder import RunFolder

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from harness import page, windows  # noqa: E402

LAGS = {
    "name": "lag_copy", "train_documents": 16, "validation_documents": 8, "document_length": 300,
}  # fmt: skip


@pytest.fixture
def trained(ask):
    """The folder of a finished small run."""

    def train(dataset=None, **changes) -> RunFolder:
        config = ask(scheme="rope", dataset__label="words", **changes)
        outcome = run.train(config | ({"dataset": dataset} if dataset else {}), [])
        return RunFolder(Path(config["results"]) / "runs" / outcome.run_id)

    return train


def export(folder, place, *flags) -> int:
    return main.main(["export", f"run={folder.path}", "--to", "lm-eval", str(place), *flags])


def test_results_are_those_of_the_tables(trained, tmp_path, capsys):
    folder, place = trained(), tmp_path / "results.json"
    assert export(folder, place) == 0
    content = json.loads(place.read_text())
    (evaluation,) = folder.ended["evaluations"]
    lines = (folder.path / "evaluation" / evaluation / "lengths.csv").read_text().splitlines()
    head = lines[0].split(",")
    rows = [dict(zip(head, line.split(","), strict=True)) for line in lines[1:]]
    for name, metric in {"loss": "loss", "bits_per_byte": "bits_per_byte"}.items():
        ours = {
            lm_eval_results.task_name("words", row["protocol"], row["eval_length"]): row
            for row in rows
            if row["metric"] == name
        }
        assert set(content["results"]) == set(ours) and len(ours) > 10
        for task, row in ours.items():
            assert content["results"][task][f"{metric},none"] == pytest.approx(
                float(row["value"]), rel=1e-6
            )
            interval = content["configs"][task]["metadata"]["interval_95"].get(metric)
            assert interval == pytest.approx([float(row["low"]), float(row["high"])])
    one = content["results"]["lengthgen_words_matched_16"]
    assert one["byte_perplexity,none"] == pytest.approx(2 ** one["bits_per_byte,none"])
    assert not any(key.startswith("word_perplexity") for key in one)
    provenance = json.loads(folder.provenance.read_text())
    assert content["git_hash"] == provenance["commit"]
    assert content["model_name"] == folder.path.name
    assert content["n-samples"]["lengthgen_words_matched_16"]["effective"] == 4
    tasks = set(content["results"])
    for key in ("configs", "versions", "n-shot", "higher_is_better", "n-samples"):
        assert set(content[key]) == tasks

    before = place.read_bytes()
    assert export(folder, place) == 2 and place.read_bytes() == before
    assert "--overwrite" in capsys.readouterr().err
    assert export(folder, place, "--overwrite") == 0 and place.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "flags", "words"),
    [
        ("results.csv", [], "expected the name of a .json file"),
        ("results.json", ["--own-code"], "--own-code is for --to hf"),
        ("results.json", ["--max-length", "64"], "--max-length is for --to hf"),
        ("results.json", ["--evaluation", "zzz"], "--evaluation zzz: expected one"),
    ],
)
def test_what_is_refused(name, flags, words, trained, tmp_path, capsys):
    folder = trained()
    capsys.readouterr()
    assert export(folder, tmp_path / name, *flags) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1 and not (tmp_path / name).exists()


def test_symbols_have_no_bytes(trained, tmp_path):
    assert export(trained(dataset=LAGS), tmp_path / "results.json") == 0
    content = json.loads((tmp_path / "results.json").read_text())
    for values in content["results"].values():
        assert {key.partition(",")[0] for key in values if "stderr" not in key} == {
            "alias", "loss", "token_perplexity",
        }  # fmt: skip


def test_metrics_of_nothing():
    assert lm_eval_results.metrics([], in_bytes=True) == {}
    huge = {"loss_sum": "9999", "n_tokens": "1", "n_bytes": "1"}
    assert lm_eval_results.metrics([huge], in_bytes=True)["byte_perplexity"] == math.inf


def test_the_figures_of_the_page_are_replaced():
    text = f"before\n{page.BEGIN}\n\nold\n\n{page.END}\nafter\n"
    assert page.put(text, ["new"]) == text.replace("old", "new")
    written = (ROOT / "docs" / "pages" / "perplexity.md").read_text()
    assert page.BEGIN in written and page.END in written and "| lm-eval |" in written


@pytest.mark.slow
def test_its_readers_take_the_file(trained, tmp_path):
    utils = pytest.importorskip("lm_eval.utils")
    wandb_logger = pytest.importorskip("lm_eval.loggers.wandb_logger")
    assert export(trained(), tmp_path / "results.json") == 0
    content = json.loads((tmp_path / "results.json").read_text())
    table = utils.make_table(content)
    for task, values in content["results"].items():
        assert task in table and f"{values['bits_per_byte,none']:.4f}" in table
    logger = object.__new__(wandb_logger.WandbLogger)  # without a run of its own
    logger.post_init(content)
    _, results = logger._sanitize_results_dict()
    for task, values in content["results"].items():
        assert results[f"{task}/loss"] == pytest.approx(values["loss,none"])


@pytest.mark.slow
@pytest.mark.parametrize("length", [16, 40])  # of the training, and past it
def test_the_same_windows_have_the_same_loss(length, trained, tmp_path):
    pytest.importorskip("lm_eval")
    folder, place = trained(steps=30, optim__lr=0.01), tmp_path / "model"
    assert main.main(["export", str(folder.path), "--to", "hf", str(place)]) == 0
    loaded = load_run(str(folder.path))
    n, stride = 5 * length, length // 4
    chosen, texts = windows.documents_of(loaded, 3, n)
    lm = windows.harness(place, length)
    assert lm.prefix_token_id == loaded.tokenizer.begin and lm.max_length == length
    ours = windows.by_lengthgen(loaded, chosen, n, "nonoverlapping", length, length)
    assert ours.tokens.tolist() == [n] * 3
    np.testing.assert_allclose(windows.rolling(lm, texts), ours.loss, rtol=1e-5)
    np.testing.assert_allclose(windows.by_harness(lm, texts).loss, ours.loss, rtol=1e-5)

    for cut in (n, n - stride - 1):  # the second leaves a last window that is not full
        texts = [text[:cut] for text in texts]
        theirs = windows.by_harness(lm, texts, length - stride + 1)
        ours = windows.by_lengthgen(loaded, chosen, cut, "sliding", length, stride)
        assert theirs.tokens.tolist() == ours.tokens.tolist() == [cut] * 3
        assert theirs.context.tolist() == ours.context.tolist()
        np.testing.assert_allclose(theirs.loss, ours.loss, rtol=1e-5)
    # And where they are not the same: the harness scores what fills no window.
    rolled = windows.by_harness(lm, texts)
    ours = windows.by_lengthgen(loaded, chosen, cut, "nonoverlapping", length, length)
    assert rolled.tokens.sum() > ours.tokens.sum()
    assert (rolled.loss > ours.loss + 0.1).all()


@pytest.mark.slow
def test_a_second_begin_is_a_target(trained, tmp_path):
    """add_bos_token=True reads [begin, begin, text]: one target and one context token more."""
    pytest.importorskip("lm_eval")
    folder, place = trained(), tmp_path / "model"
    assert main.main(["export", str(folder.path), "--to", "hf", str(place)]) == 0
    _, texts = windows.documents_of(load_run(str(folder.path)), 2, 32)
    plain = windows.by_harness(windows.harness(place, 16), texts)
    doubled = windows.by_harness(windows.harness(place, 16, add_bos_token=True), texts)
    assert (doubled.tokens == plain.tokens + 1).all()
    assert (np.abs(doubled.loss - plain.loss) > 0.1).all()
