"""Files that somebody made to run code, or to write elsewhere, when lengthgen reads them."""

import contextlib
import hashlib
import io
import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import lengthgen
from lengthgen.cli import main
from lengthgen.data.splits import prepare_splits
from lengthgen.errors import UserError
from lengthgen.evaluation import records, stored

TINY = [
    *("scheme=none", "model=nano", "model.width=16", "model.n_layers=1", "train_length=16"),
    *("steps=2", "batch_size=2", "validate_every=0", "evaluation=quick", "threads=1"),
    *("evaluation.documents=4", "dataset=files", "dataset.path=text", "cache=cache"),
    *("tracking=none", "evaluate_at_steps=[1]"),
]
AGAIN = ["evaluation.lengths=[16,24]", "evaluation.documents=4", "tracking=none", "threads=1"]


class Calls:
    """Pickled, it calls a function when it is read."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def touch() -> list[Calls]:
    code = "open('CANARY', 'w')"
    return [
        Calls(os.system, "touch CANARY"),
        Calls(eval, code),
        Calls(exec, code),
        Calls(open, "CANARY", "w"),
        Calls(Path.touch, Path("CANARY")),
        Calls(getattr(__import__("subprocess"), "check_call"), ["touch", "CANARY"]),  # noqa: B009
    ]


def saved(state: object, **how) -> bytes:
    content = io.BytesIO()
    torch.save(state, content, **how)
    return content.getvalue()


def checkpoints() -> dict[str, bytes]:
    """Name -> content of a state.pt."""
    made = {}
    for number, call in enumerate(touch()):
        made[f"zip {number}"] = saved({"model": call, "step": 2})
        made[f"legacy {number}"] = saved([call], _use_new_zipfile_serialization=False)
    made["pickle alone"] = pickle.dumps(touch()[0])
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("../../../CANARY", b"x")
        archive.writestr("/tmp/lengthgen-CANARY", b"x")
        archive.writestr("archive/data.pkl", pickle.dumps(touch()[0]))
        archive.writestr("archive/version", b"3\n")
    made["zip with paths"] = out.getvalue()
    made["huge header"] = (2**62).to_bytes(8, "little") + b"{}"
    script = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Identity()), script)
    made["torchscript"] = script.getvalue()
    made["empty"] = b""
    made["wrong kind"] = saved([1, 2, 3])
    return made


CHECKPOINTS = checkpoints()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("trained")
    (root / "text").mkdir()
    for number in range(20):
        (root / "text" / f"{number}.txt").write_text(f"a quick brown fox, {number}. " * 30)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert main.main(["train", *TINY]) == 0
    return root


@pytest.fixture
def received(trained, tmp_path, monkeypatch):
    """The folder of a finished run, in a copy of everything."""
    here = tmp_path / "above" / "here"
    shutil.copytree(trained, here)
    monkeypatch.chdir(here)
    (run,) = (here / "results" / "runs").iterdir()
    return run


def outside(run: Path) -> list[str]:
    """What is there that neither the run nor this test made."""
    here = run.parent.parent.parent
    found = [*here.parent.iterdir(), *here.iterdir(), *here.parent.parent.glob("*CANARY*")]
    known = {"here", "text", "cache", "results", "elsewhere"}
    return [str(path) for path in found if path.name not in known]


def manifest(folder: Path, **more) -> None:
    """Sums that fit, so that the file is read."""
    told = json.loads((folder / "manifest.json").read_text())
    digest = hashlib.sha256((folder / "state.pt").read_bytes()).hexdigest()
    told["sha256"] = {"state.pt": digest} | more
    (folder / "manifest.json").write_text(json.dumps(told))


def use(run: Path) -> None:
    """All that reads a run; it may refuse it."""
    for work in (
        lambda: main.main(["evaluate", f"run={run.name}", *AGAIN]),
        lambda: main.main(["evaluate", f"run={run.name}", "at_step=1", *AGAIN]),
        lambda: main.main(["train", *TINY]),
        lambda: lengthgen.load_run(run.name),
    ):
        with contextlib.suppress(Exception):
            work()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name[-1] in "12345" else ())
        for name in CHECKPOINTS
    ],
)
def test_a_checkpoint_runs_nothing(name, received):
    folders = [*received.glob("checkpoints/step-*"), *received.glob("weights/step-*")]
    assert len(folders) == 2
    for folder in folders:
        (folder / "state.pt").write_bytes(CHECKPOINTS[name])
        manifest(folder)
    (received / "done.json").unlink()  # so that training reads it too
    with contextlib.suppress(Exception):
        main.main(["train", *TINY])
    for folder in folders:
        if (folder / "state.pt").exists():
            (folder / "state.pt").write_bytes(CHECKPOINTS[name])
            manifest(folder)
    use(received)
    assert outside(received) == [] and not Path("/tmp/lengthgen-CANARY").exists()


def test_the_payloads_do_run_where_nobody_takes_care(tmp_path, monkeypatch):
    """Else the tests above would show nothing."""
    monkeypatch.chdir(tmp_path)
    for number in range(len(touch())):
        torch.load(io.BytesIO(CHECKPOINTS[f"zip {number}"]), weights_only=False)
        (tmp_path / "CANARY").unlink()


YAML = [
    "!!python/object/apply:os.system ['touch CANARY']",
    "!!python/object/apply:builtins.open ['CANARY', 'w']",
    "!!python/object/new:os.system ['touch CANARY']",
    "!!python/name:os.system",
    "!!python/module:antigravity",
    "!!python/object/apply:subprocess.check_call [[touch, CANARY]]",
]


@pytest.mark.parametrize("payload", YAML)
def test_a_yaml_runs_nothing(payload, received):
    (received / "config.yaml").write_text(f"x: {payload}\n")
    assert records.run(received).status == "unreadable"
    use(received)
    for name in ("experiment", "scheme", "dataset", "study"):
        path = Path("elsewhere") / name / "shared.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"name: {payload}\n")
    for words in (["train", "+experiment=shared"], ["train", "scheme=shared"]):
        assert main.main([*words, "--config-dir", "elsewhere"]) == 2
    with contextlib.suppress(Exception):
        main.main(["study", "shared", "--config-dir", "elsewhere"])
    with contextlib.suppress(Exception):
        main.main(["list", "schemes", "--config-dir", "elsewhere"])
    assert outside(received) == []


def test_arrays_of_losses_run_nothing(received):
    (evaluation, *_) = sorted((received / "evaluation").iterdir())
    evil = np.array([touch()[0]], dtype=object)
    np.savez(evaluation / "losses.npz", **{"matched/16/losses": evil}, allow_pickle=True)
    with contextlib.suppress(UserError, ValueError):
        stored.targets(evaluation, "matched", 16)
    with contextlib.suppress(Exception):
        main.main(["plot", "--publish", "main"])
    assert outside(received) == []


@pytest.mark.parametrize("name", ["offsets.npy", "token_bytes.npy"])
def test_the_cache_runs_nothing(name, received):
    stores = list(Path("cache/stores").glob("*/*/store.json"))
    assert len(stores) == 2
    for described in stores:
        file = described.with_name(name)
        np.save(file, np.array([touch()[0]], dtype=object), allow_pickle=True)
        told, content = json.loads(described.read_text()), file.read_bytes()
        told["files"][name] = [len(content), hashlib.sha256(content).hexdigest()]
        described.write_text(json.dumps(told))
    with contextlib.suppress(Exception):
        prepare_splits({"name": "files", "path": "text"}, {"name": "bytes"}, Path("cache"))
    use(received)
    assert outside(received) == []


def test_a_loading_script_of_a_dataset_is_not_run(received):
    script = Path("elsewhere/script")
    script.mkdir(parents=True)
    (script / "script.py").write_text("from pathlib import Path\nPath('CANARY').touch()\n")
    words = ["dataset=huggingface", f"dataset.path={script}", "tracking=none", "cache=cache"]
    assert main.main(["train", "scheme=none", "steps=2", "train_length=16", *words]) in (2, 3)
    assert outside(received) == []


@pytest.mark.parametrize(
    "name", ["evaluation", "figures", "checkpoints", "wandb", "log.txt", "metrics.jsonl", ".lock"]
)
def test_nothing_is_written_through_a_link(name, received, capsys):
    target = received.parent.parent.parent / "elsewhere"
    target.mkdir()
    (target / "kept").write_text("kept")
    path = received / name
    shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target / "kept" if "." in name else target)
    code = main.main(["evaluate", f"run={received.name}", *AGAIN])
    error = capsys.readouterr().err
    assert code == 2 and "a link that leads out of its folder" in error and error.count("\n") == 1
    assert [(file.name, file.read_text()) for file in target.iterdir()] == [("kept", "kept")]


def test_a_link_within_the_folder_is_no_harm(received):
    (received / "figures").rename(received / "drawn")
    (received / "figures").symlink_to("drawn")
    assert main.main(["evaluate", f"run={received.name}", *AGAIN]) == 0


def test_a_link_to_the_whole_folder_is_no_harm(received):
    elsewhere = Path("elsewhere")
    received.rename(elsewhere)
    received.symlink_to(elsewhere.absolute())
    assert main.main(["evaluate", f"run={received.name}", *AGAIN]) == 0
