"""What `import lengthgen` offers: loaded when it is used, and the same as the commands."""

import logging
import subprocess
import sys

import pandas as pd
import pytest
import torch

import lengthgen
from lengthgen.errors import ConfigError
from lengthgen.evaluation import records

SMALL = [
    "steps=2",
    "train_length=16",
    "model=nano",
    "model.width=32",
    "evaluation=quick",
    "evaluation.documents=4",
]
SMALL += [
    "tracking=none",
    "validate_every=0",
    "threads=1",
    "dataset.include=[json,email]",
    "dataset.validation_fraction=0.5",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("here")
    config = lengthgen.compose(
        ["scheme=ALiBi", *SMALL, f"cache={folder / 'cache'}"], results=folder / "results"
    )
    return lengthgen.train(config, figures=False), config, folder / "results"


def test_importing_the_package_loads_nothing():
    code = (
        "import sys, lengthgen; dir(lengthgen)\n"
        "sys.exit(bool({'torch', 'hydra', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_public_name_is_there():
    assert all(getattr(lengthgen, name).__doc__ for name in lengthgen.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = lengthgen.nonsense


def test_compose_is_what_the_command_line_would_use():
    config = lengthgen.compose(["+scheme=alibi", "steps=50"])
    assert (config.scheme.name, config.steps, config.train_length) == (
        "alibi",
        50,
        512,
    ) and "hydra" not in config
    with pytest.raises(ConfigError, match="nearest: steps"):
        lengthgen.compose(["stepz=50"])


def test_a_run_is_loaded_with_its_weights_and_its_data(trained):
    outcome, _, results = trained
    run = lengthgen.load_run("alibi", results)
    assert (
        run.folder == outcome.folder
        and run.config.scheme.name == "alibi"
        and not run.model.training
    )
    text = run.tokenizer.encode(b"import json")
    assert text.tolist() == list(b"import json") and run.data.vocab_size == run.tokenizer.vocab_size
    tokens = run.data.validation.tokens(0, 17)[None]
    with torch.no_grad():
        assert torch.isfinite(run.model.losses(tokens[:, :-1], tokens[:, 1:])).all()
    with pytest.raises(ConfigError, match="no such run"):
        lengthgen.load_run("rope", results)


def test_results_are_tidy_tables(trained):
    outcome, _, results = trained
    lengths = lengthgen.load_results(results)
    assert isinstance(lengths, pd.DataFrame) and tuple(lengths.columns) == records.LENGTHS
    assert set(lengths["run"]) == {outcome.run_id}
    assert lengthgen.load_results(results, "summary")["n_seeds"].max() == 1
    with pytest.raises(ConfigError, match="expected one of lengths, documents, positions, summary"):
        lengthgen.load_results(results, "length")


def test_training_again_does_nothing_and_says_so(trained, capsys, monkeypatch):
    outcome, config, _ = trained
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest has some of its own
    again = lengthgen.train(config, figures=False)
    assert again.status == "nothing to do" and again.run_id == outcome.run_id
    assert "nothing to do" in capsys.readouterr().out
    assert logging.getLogger("lengthgen").handlers == []


def test_an_evaluation_at_other_lengths(trained):
    outcome, config, results = trained
    request = [
        f"run={outcome.run_id}",
        "evaluation.lengths=[16,24]",
        "evaluation.documents=4",
        "tracking=none",
        f"cache={config.cache}",
    ]
    evaluated = lengthgen.evaluate(
        lengthgen.compose(request, command="evaluate", results=results), figures=False
    )
    assert evaluated.status == "evaluated" and evaluated.folder == outcome.folder
    assert set(lengthgen.load_results(results)["eval_length"]) >= {16, 24}


def test_a_notebook_records_no_path(monkeypatch):
    from lengthgen.runs import provenance

    monkeypatch.setattr(
        sys, "argv", ["/home/me/lib/ipykernel_launcher.py", "-f", "/home/me/runtime/kernel.json"]
    )
    assert provenance.command() == "notebook"
