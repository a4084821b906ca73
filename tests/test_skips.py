"""A loss or gradient that is not finite: skipped a few times in a row, then one return, then the
end; recorded, and the same bits whether the training was interrupted or not."""

import contextlib
import math
import os
import signal

import pytest
import torch

from lengthgen import files
from lengthgen.errors import Interrupted, NonFiniteError
from lengthgen.runs import run
from lengthgen.training import checkpoint, skips
from lengthgen.training import loop as training

from .test_run import draw, weights  # noqa: F401

STEPS = 14
SMALL = {"steps": STEPS, "log_every": 1, "evaluation__factors": [1.0], "validate_every": 0}


@contextlib.contextmanager
def faults(steps, kind="loss", stop_at=0):
    """The loss of these steps, from 1, is NaN; or their gradient. A signal comes at `stop_at`."""
    plain = training.train

    def train(state, batch_at, **options):
        now = []

        def batch(step):
            now[:] = [step + 1]
            if step + 1 == stop_at:
                os.kill(os.getpid(), signal.SIGTERM)
            return batch_at(step)

        def loss(x, y, total_loss=options["total_loss"]):
            value = total_loss(x, y)
            if now[0] not in steps:
                return value
            if kind == "loss":
                return value * math.nan
            value.register_hook(lambda gradient: gradient * math.inf)
            return value

        plain(state, batch, **{**options, "total_loss": loss})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "train", train)
        yield


def lines(folder):
    """Step -> what metrics.jsonl says of its skip."""
    rows = files.read_jsonl(folder / "metrics.jsonl")
    return {row["step"]: row for row in rows if "skipped" in row}


@pytest.mark.parametrize("kind", ["loss", "gradient"])
@pytest.mark.parametrize("steps", [[1], [7], [STEPS], [5, 6, 7], [1, 2, 3], [2, 5, 9, 14]], ids=str)
def test_a_few_steps_are_skipped_and_recorded(ask, caplog, steps, kind):
    with faults(steps, kind):
        outcome = run.train(ask(**SMALL), [])
    found = lines(outcome.folder)
    assert list(found) == steps
    assert all(row["parameter"] == "scheme.table" for row in found.values())
    for row in found.values():
        documents = [window.rpartition(":")[0] for window in row["windows"]]
        assert len(documents) == 4 and all(name.endswith(".txt") for name in documents)
    about = {"skipped": steps, "left_out": [], "returned": []}
    assert files.read_json(outcome.folder / "done.json")["training"]["skips"] == about
    assert files.read_json(outcome.folder / "provenance.json")["skips"] == about
    saved = checkpoint.load_newest(outcome.folder / "checkpoints")
    assert saved["training"]["skips"] == about
    last = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"][-2:]
    assert any(f"{len(steps)} steps were skipped" in line for line in last)


def test_the_weights_are_those_without_that_batch(ask, tmp_path):
    with faults([5]):
        outcome = run.train(ask(**SMALL), [])
    plain = training.train
    with pytest.MonkeyPatch.context() as patch:
        without = {"left_out": [5]}
        patch.setattr(training, "train", lambda *a, **options: plain(*a, **{**options, **without}))
        other = run.train(ask(**SMALL, results=str(tmp_path / "other")), [])
    assert weights(outcome) == weights(other)
    whole = run.train(ask(**SMALL, results=str(tmp_path / "whole")), [])
    assert weights(outcome) != weights(whole)
    assert "skips" not in files.read_json(whole.folder / "done.json")["training"]
    assert "skips" not in files.read_json(whole.folder / "provenance.json")


@pytest.mark.parametrize("first", [1, 2, 6, STEPS - 3])
def test_a_fourth_in_a_row_goes_back_once_and_leaves_them_out(ask, caplog, first):
    row = [first, first + 1, first + 2, first + 3]
    with faults(row):
        outcome = run.train(ask(**SMALL, checkpoint_every=3), [])
    target = max(step for step in range(0, first, 3))  # the last checkpoint before the row
    about = files.read_json(outcome.folder / "done.json")["training"]["skips"]
    assert about == {"skipped": [], "left_out": row, "returned": [first + 3, target]}
    assert f"going back to step {target}" in caplog.text and "it went back once" in caplog.text
    found = lines(outcome.folder)
    assert list(found) == row and "left out" in found[first]["skipped"]
    rows = files.read_jsonl(outcome.folder / "metrics.jsonl")
    done = [line["step"] for line in rows if "train/loss" in line]
    assert done == [step for step in range(1, STEPS + 1) if step not in row]


@pytest.mark.parametrize("keep", [1, 3])
def test_ten_in_a_row_end_the_run_with_its_code(ask, tmp_path, keep):
    with faults(range(3, 13)), pytest.raises(NonFiniteError) as caught:
        run.train(ask(**SMALL, keep_checkpoints=keep), [])
    words = str(caught.value)
    assert caught.value.exit_code == 5 and "\n" not in words
    assert words.startswith("steps 7 to 10 were not finite again, after going back to step 2: loss")
    assert "first in scheme.table" in words and ".txt:" in words and "lower optim.lr" in words
    [folder] = (tmp_path / "results").glob("runs/*")
    assert not (folder / "done.json").exists()
    assert list(lines(folder)) == list(range(3, 11))
    # The fault gone, the same command goes on from what was saved.
    assert run.train(ask(**SMALL, keep_checkpoints=keep), []).status == "trained"


@pytest.mark.parametrize("stops", [[1], [4], [6, 8], [8, 13]], ids=str)
@pytest.mark.parametrize("steps", [[4], [5, 6, 7, 8], [1, 2, 3, 4]], ids=str)
def test_a_resume_gives_the_bits_of_the_uninterrupted_run(ask, tmp_path, steps, stops):
    small = {**SMALL, "checkpoint_every": 3, "keep_checkpoints": 1}
    with faults(steps):
        whole = run.train(ask(**small, results=str(tmp_path / "whole")), [])
    for stop in stops:
        with faults(steps, stop_at=stop), contextlib.suppress(Interrupted):
            # A step before a return may come twice: then its second signal acts at once.
            run.train(ask(**small), [])
    with faults(steps):
        resumed = run.train(ask(**small), [])
    assert weights(resumed) == weights(whole)
    one, other = (
        files.read_json(o.folder / "done.json")["training"]["skips"] for o in (whole, resumed)
    )
    # Where it went back to is the newest checkpoint, and each stop made one.
    assert len(one.pop("returned")) == len(other.pop("returned")) and one == other
    assert lines(resumed.folder) == lines(whole.folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 1, "optim__lr": 1e38, "optim__clip": 0},
        {"steps": 1, "optim__lr": 1e38, "optim__clip": 0, "optim__weight_decay": 0.0},
        {"steps": 2, "optim__lr": 1e38, "optim__clip": 0, "scheme": "learned"},
    ],
    ids=str,
)
def test_weights_that_are_not_finite_are_no_finished_run(ask, tmp_path, changes):
    with pytest.raises(NonFiniteError) as caught:
        run.train(ask(**changes, evaluation__factors=[1.0]), [])
    assert caught.value.exit_code == 5 and "\n" not in str(caught.value)
    [folder] = (tmp_path / "results").glob("runs/*")
    assert not (folder / "done.json").exists() and not list(folder.glob("evaluation/*"))
    for path in folder.glob("checkpoints/*/state.pt"):
        model = torch.load(path, weights_only=True)["model"]
        assert all(bool(tensor.isfinite().all()) for tensor in model.values())


def test_a_training_in_which_no_step_was_finite_is_no_training(ask):
    with faults([1, 2]), pytest.raises(NonFiniteError, match="no step was finite"):
        run.train(ask(**{**SMALL, "steps": 2}), [])


@pytest.mark.parametrize("every", [1, 5, 20])
def test_numbers_that_are_read_later_give_the_same(ask, tmp_path, monkeypatch, every):
    """As on a GPU, where the host waits for the numbers of some steps only."""
    from lengthgen.runs.after_steps import AfterSteps

    steps = [3, 6, 7, 8, 9]
    with faults(steps):
        whole = run.train(ask(**SMALL, results=str(tmp_path / "whole")), [])
    saves = AfterSteps._saves
    monkeypatch.setattr(
        AfterSteps, "reads", lambda self, step: step % every == 0 or saves(self, step)
    )
    with faults(steps):
        later = run.train(ask(**SMALL), [])
    about = [files.read_json(o.folder / "done.json")["training"]["skips"] for o in (whole, later)]
    assert about[0]["skipped"] == about[1]["skipped"] == [3]
    assert about[0]["left_out"] == about[1]["left_out"] == [6, 7, 8, 9]
    assert weights(later) == weights(whole)


def test_words_only_where_something_was_skipped():
    assert skips.in_words({"steps": 3}) == "" == skips.in_words({"steps": 3, "skips": {}})
    assert skips.load({"step": 3}) == skips.Skips() and skips.Skips().state_dict() == {}
