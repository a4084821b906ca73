"""A training that resumes after any step, under any scheme, ends with the bits of a whole one."""

import shutil

import pytest

from lengthgen import files
from lengthgen.config import catalogue
from lengthgen.runs import run

STEPS = 40
SCHEMES = catalogue.options("scheme", catalogue.folders())
FAST = ("learned", "t5_bias", "randomised_learned")


@pytest.fixture
def whole(ask):
    """A finished run with a checkpoint of every step. Parts of batches, dropout, draws and all."""

    def trained(scheme):
        wanted = ask(
            scheme=scheme,
            steps=STEPS,
            accumulate=2,
            model__dropout=0.1,
            checkpoint_every=1,
            keep_checkpoints=STEPS + 1,
            validate_every=0,
            evaluation__documents=2,
            evaluation__lengths=[16],
            evaluation__protocols=["matched"],
        )
        return wanted, run.train(wanted, [], figures=False).folder

    return trained


def resumed(wanted, folder, step):
    """The end of the training of a copy that has the checkpoints up to `step` alone."""
    results = folder.parents[1] / "again"
    shutil.rmtree(results, ignore_errors=True)
    copy = results / "runs" / folder.name
    copy.mkdir(parents=True)
    for name in ("config.yaml", "provenance.json", "metrics.jsonl"):
        shutil.copy(folder / name, copy / name)
    for each in range(1, step + 1):
        name = f"checkpoints/step-{each:06d}"
        shutil.copytree(folder / name, copy / name)
    run.train(wanted | {"results": str(results)}, [], figures=False)
    return copy


def end(folder):
    rows = files.read_jsonl(folder / "metrics.jsonl")
    losses = [(row["step"], row["train/loss"]) for row in rows if "train/loss" in row]
    return files.read_json(folder / "done.json")["weights_sha256"], losses


@pytest.mark.parametrize("scheme", FAST)
def test_after_some_steps(whole, scheme):
    wanted, folder = whole(scheme)
    for step in (1, STEPS // 2, STEPS - 1):
        copy = resumed(wanted, folder, step)
        assert end(copy) == end(folder), step
        assert len(files.read_json(copy / "provenance.json")["segments"]) == 1


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
def test_after_every_step(whole, scheme):
    wanted, folder = whole(scheme)
    for step in range(1, STEPS):
        assert end(resumed(wanted, folder, step)) == end(folder), step
