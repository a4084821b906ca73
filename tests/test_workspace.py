"""lengthgen dashboard: the W&B workspace's panels and columns, as a file."""

import json

import pytest

from lengthgen.cli import main
from lengthgen.errors import ConfigError
from lengthgen.tracking import workspace

from .fake_runs import write_run

WORDS = ("dashboard", "--entity", "team")


def written(tmp_path):
    """The specification that is written for one run, and its panels by title."""
    pytest.importorskip("wandb_workspaces")
    write_run(tmp_path / "results", "rope", 0, n_documents=2)
    to = tmp_path / "workspace.json"
    words = [*WORDS, "--results", str(tmp_path / "results"), "--to", str(to)]
    assert main.main(words) == 0
    return json.loads(to.read_text())["section"]


def test_panels_ask_for_what_runs_log(tmp_path, capsys):
    section = written(tmp_path)
    assert capsys.readouterr().out.strip().endswith("workspace.json")
    sections = section["panelBankConfig"]["sections"]
    assert [one["name"] for one in sections] == [
        "Length curves", "When it begins to fail", "Training", "Figures",
    ]  # fmt: skip
    curves = {panel["config"]["metrics"][0]: panel["config"] for panel in sections[0]["panels"]}
    loss = curves["eval/matched/loss"]
    assert loss["xAxis"] == "eval/length" and loss["groupBy"] == "group.value"
    assert loss["groupAgg"] == "mean" and loss["groupArea"] == "minmax"
    assert sections[1]["panels"][0]["config"]["metricRegex"] == "lengths/loss@.*"
    assert {panel["config"]["metrics"][0] for panel in sections[2]["panels"]} == {
        "train/loss", "validation/loss", "train/grad_norm", "train/tokens_per_second",
    }  # fmt: skip
    assert "figures/loss_by_length" in sections[3]["panels"][0]["config"]["mediaKeys"]


def test_runs_are_grouped_by_set_up_with_their_words_as_columns(tmp_path):
    [runs] = written(tmp_path)["runSets"]
    assert runs["grouping"] == [{"section": "run", "name": "group"}]
    columns = runs["runFeed"]["columnOrder"][1:]
    lengths = sorted({int(name.partition("@")[2]) for name in columns})
    assert len(lengths) > 1
    assert columns == [
        f"summary:eval/matched/{name}@{length:06d}"
        for length in lengths
        for name in ("loss", "loss_change", "word")
    ]


def test_without_an_account_it_says_what_to_do(monkeypatch, capsys):
    pytest.importorskip("wandb_workspaces")
    import wandb

    monkeypatch.setattr(type(wandb.api), "api_key", property(lambda self: None), raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    assert main.main(list(WORDS)) == ConfigError.exit_code
    assert "no W&B account is logged in: `wandb login`, or --to FILE" in capsys.readouterr().err


def test_a_server_that_refuses_is_one_line():
    class Refusing:
        def save(self):
            raise ValueError("permission\ndenied")

    with pytest.MonkeyPatch.context() as patch:
        import wandb

        patch.setattr(type(wandb.api), "api_key", property(lambda self: "k" * 40), raising=False)
        with pytest.raises(ConfigError, match=r"did not take the workspace \(permission denied\)"):
            workspace.save(Refusing())


def test_without_the_library_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "wandb_workspaces", None)
    with pytest.raises(ConfigError, match=r"pip install 'lengthgen\[dashboard\]'"):
        workspace.workspace("team", "lengthgen", "name", [])
