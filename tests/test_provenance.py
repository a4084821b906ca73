"""Where a number came from: the commit says when the tree differs from it."""

import os
import shutil
import subprocess
from pathlib import Path

import torch

from lengthgen.runs import provenance

PACKAGE = Path(provenance.__file__).parent


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.invalid"]
    return subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_commit_of_a_clean_and_of_a_changed_checkout(tmp_path, monkeypatch):
    # Inside a git hook these variables would lead to the hook's repository.
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)  # the user's may ask for signatures
    runs = tmp_path / "lengthgen" / "runs"
    runs.mkdir(parents=True)
    shutil.copy(PACKAGE / "provenance.py", runs)
    monkeypatch.setattr(provenance, "__file__", str(runs / "provenance.py"))
    assert provenance.commit() == "unknown"
    monkeypatch.setenv("LENGTHGEN_COMMIT", "f" * 40)  # of a copy without its repository
    assert provenance.commit() == "f" * 40
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "x")
    head = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "notes.txt").write_text("outside the package")
    assert provenance.commit() == head
    (tmp_path / "lengthgen" / "new.py").write_text("")
    assert provenance.commit() == f"{head}-dirty"


def test_description_names_no_path_of_the_machine(monkeypatch):
    monkeypatch.setattr("sys.argv", ["/somewhere/bin/lengthgen", "train", "+scheme=alibi"])
    facts = provenance.describe(torch.device("cpu"))
    assert facts["command"] == "lengthgen train +scheme=alibi"
    assert (
        facts["versions"]["torch"] == torch.__version__
        and facts["threads"] == torch.get_num_threads()
    )
    assert str(Path.home()) not in str(facts) and str(PACKAGE) not in str(facts)


def test_the_command_holds_no_secret(monkeypatch):
    """Benchmarks write it as well as runs."""
    monkeypatch.setenv("HF_TOKEN", "canaryXyZ1")
    words = ["train", "x.api_key=abc", "tracking.group=canaryXyZ1", "u=https://me:pw@host.org"]
    monkeypatch.setattr("sys.argv", ["/x/lengthgen", *words])
    told = provenance.command()
    assert told == "lengthgen train x.api_key=*** tracking.group=*** u=https://***@host.org"
    assert provenance.describe(torch.device("cpu"))["command"] == told
