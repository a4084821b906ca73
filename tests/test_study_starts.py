"""Arms of a study whose training starts from the weights of another arm."""

import pytest

from lengthgen import files
from lengthgen.cli import main
from lengthgen.studies import study_folder

EXTENDED = """\
# Is a short training at a longer length worth its steps
claim: a small study of the tests
show: loss
figures:
  - {panels: none}
base:
  - dataset=lag_copy
  - [dataset.n_symbols=16, dataset.train_documents=8, dataset.document_length=256]
  - [model=nano, scheme=rope, batch_size=2]
  - [evaluation=study, evaluation.documents=4, evaluation.block=4, evaluation.blocks=1]
  - evaluation.lengths=[16,32]
  - evaluation.protocols=[matched]
scales:
  small: {seeds: 2}
arms:
  more: [train_length=32, steps=2, retrofit=yarn]
  short: [train_length=16, steps=3]
starts:
  more: short
claims:
  at_32:
    claim: steps at the longer length lower the loss there
    measure: loss
    subject: more
    baseline: short
    length_factor: 1
    predict: below 0
    primary: true
    about_training: true
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    (root / "mine" / "study").mkdir(parents=True)
    (root / "mine" / "study" / "extended.yaml").write_text(EXTENDED)
    words = [
        "study",
        "extended",
        "--config-dir",
        str(root / "mine"),
        "--results",
        str(root / "results"),
    ]
    words += ["--workers", "1", f"cache={root / 'cache'}"]
    assert main.main([*words, "--register"]) == 0 and main.main(words) == 0
    return root, words


def test_an_arm_starts_from_the_run_of_its_seed(made):
    root, _ = made
    runs = {folder.name: folder for folder in (root / "results" / "runs").iterdir()}
    assert len(runs) == 4
    extended = [folder for name, folder in runs.items() if name.startswith("rope+yarn-")]
    for folder in extended:
        config = (folder / "config.yaml").read_text()
        seed = folder.name.split("-s")[1][0]
        start = next(name for name in runs if "-L16-" in name and f"-s{seed}-" in name)
        assert f"run: {start}" in config
        done = files.read_json(runs[start] / "done.json")
        assert done["weights_sha256"] in config
    assert len(extended) == 2


def test_a_claim_compares_both_at_as_many_tokens(made):
    """32 tokens are the subject's training length, and twice that of the baseline."""
    root, _ = made
    folder = root / "results" / "studies" / "extended"
    (row,) = study_folder.read(folder / "claims.csv")
    values = {
        (each["subject"], each["eval_length"]): each["value"]
        for each in study_folder.read(folder / "values.csv")
        if each["measure"] == "loss"
    }
    assert row["value"] == pytest.approx(values["more", 32] - values["short", 32], abs=1e-6)
    assert (folder / "values.svg").stat().st_size > 1000
    assert "from=ID`, the run of short" in (folder / "summary.md").read_text()


def test_done_is_done(made, capsys):
    _, words = made
    assert main.main(words) == 0
    assert capsys.readouterr().out.count("nothing to do") == 4
