"""The README's commands compose; its example of a user's scheme trains and is listed."""

import re
import shlex
from pathlib import Path

import pytest

from lengthgen.cli import main
from lengthgen.studies import verdict_tables

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.S)


COMMANDS = [
    shlex.split(line, comments=True)[1:]
    for block in blocks("sh")
    for line in block.splitlines()
    if line.startswith(("lengthgen train", "scripts/lengthgen train"))
]


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """The README's example, written where its first lines say; tmp_path is the current folder."""
    for language in ("python", "yaml"):
        for block in blocks(language):
            if block.startswith("# mine/"):
                path = tmp_path / block.splitlines()[0][2:]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block)
    monkeypatch.chdir(tmp_path)


def test_there_are_commands_to_test():
    assert len(COMMANDS) >= 7


@pytest.mark.parametrize("command", [c for c in COMMANDS if "-m" not in c], ids=" ".join)
def test_every_training_command_composes(mine, command, capfd):
    without = [word for word in command if word not in ("--cfg", "job", "--resolve")]
    assert main.main([*without, "--cfg", "job"]) == 0
    assert "train_length:" in capfd.readouterr().out


def test_the_own_scheme_trains_and_is_listed(mine, tmp_path, capsys):
    small = [
        "steps=2",
        "train_length=16",
        "batch_size=2",
        "model.n_layers=1",
        "model.width=16",
        "evaluation=quick",
        "tracking=none",
        "threads=1",
    ]
    data = [
        "dataset.include=[json,email]",
        f"cache={tmp_path / 'cache'}",
        "dataset.validation_fraction=0.5",
    ]
    assert main.main(["train", "--config-dir", "mine", "+scheme=log_penalty", *small, *data]) == 0
    assert list((tmp_path / "results" / "runs").glob("log_penalty-python-tiny-L16-s0-*/done.json"))
    assert main.main(["list", "schemes", "--config-dir", "mine"]) == 0
    assert "log_penalty" in capsys.readouterr().out


def test_the_example_from_python_runs(monkeypatch, tmp_path):
    """As it stands, but for the sizes."""
    monkeypatch.chdir(tmp_path)
    [code] = [block for block in blocks("python") if "load_run" in block]
    small = [
        "steps=2",
        "train_length=16",
        "model=nano",
        "evaluation=quick",
        "tracking=none",
        "validate_every=0",
    ]
    assert '"steps=50"' in code
    names = {}
    exec(code.replace('"steps=50"', ", ".join(map(repr, small))), names)
    assert names["outcome"].status == "trained"
    assert (
        names["run"].model.scheme.declaration.paper.startswith("Press")
        and names["run"].tokenizer.key == "bytes"
    )
    assert set(names["table"]["run"]) == {names["outcome"].run_id}


def test_the_verdicts_are_those_of_the_results():
    folders = sorted(path.parent for path in (ROOT / "results" / "studies").glob("*/claims.csv"))
    assert len(folders) >= 8
    for line in verdict_tables.of_studies(folders, "results/studies/"):
        assert line in README
