"""The pages of docs/ build without a warning; every command in them and in the README exists."""

import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from lengthgen.cli import main

from .fake_runs import write_run

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "pages").glob("*.md"))]
HYDRA = ("train", "evaluate")
# What a reader puts in the place of a word, in a form that composes.
GIVEN = {"<id>": "run", "TEXT": "text", "FOLDER": "folder", "OWNER/NAME": "owner/name"}


def commands():
    """(page, words) of every line of a shell block that runs lengthgen, by torchrun or not."""
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), flags=re.S):
            for line in block.splitlines():
                line = re.sub(r"^torchrun .*-m lengthgen ", "lengthgen ", line)
                if line.startswith(("lengthgen ", "scripts/lengthgen ")):
                    for before, after in GIVEN.items():
                        line = line.replace(before, after)
                    yield page.name, shlex.split(line.partition(" | ")[0], comments=True)[1:]


COMMANDS = list(commands())


def named(command):
    return " ".join(command[1])


def test_there_are_commands():
    assert len(COMMANDS) > 60
    known = {*HYDRA, "study", "compare", "decide", "export", "plot", "report", "list", "bench"}
    assert known <= {words[0] for _, words in COMMANDS}


COMPOSED = [c for c in COMMANDS if c[1][0] in HYDRA and "--help" not in c[1]]


@pytest.mark.parametrize("command", COMPOSED, ids=named)
def test_a_command_with_keys_composes(command, capfd, tmp_path, monkeypatch):
    """A sweep with the first value of each key."""
    _, words = command
    if "--config-dir" in words or any("mine" in word for word in words):
        pytest.skip("the example of a user's scheme: tests/test_readme.py runs it")
    monkeypatch.chdir(tmp_path)
    if "--where" in words or any(word.startswith("run=") and "*" in word for word in words):
        named = {"name": "rope-python-tiny-L512-s0-1e234567"}
        write_run(tmp_path / "results", "rope", 0, n_documents=2, **named)  # one to choose
    flags = ("-m", "--isolate", "--skip-published", "--cfg", "job", "--resolve")
    left = [word for word in words if word not in flags and not word.startswith("hydra")]
    single = [_first(word) for word in left]
    assert main.main([*single, "--cfg", "job"]) == 0, capfd.readouterr().err
    assert "evaluation:" in capfd.readouterr().out


def _first(word):
    """`a,b` of a sweep is `a`, an interval its lower end; a list in brackets is one value."""
    word = re.sub(r"tag\(log,interval\(([^,]+),.*", r"\1", word)
    key, equals, value = word.partition("=")
    return f"{key}{equals}{value.split(',')[0]}" if equals and "[" not in value else word


PARSED = [c for c in COMMANDS if c[1][0] not in HYDRA and "--help" not in c[1]]


@pytest.mark.parametrize("command", PARSED, ids=named)
def test_any_other_command_is_parsed(command):
    _, (name, *rest) = command
    known = {one.name: one for one in main.COMMANDS}
    assert name in known
    if not known[name].module:
        return
    module = import_module(f"lengthgen.{known[name].module}")
    if make := getattr(module, "parser", None) or getattr(module, "_parser", None):
        parser = make()
        try:
            parser.parse_intermixed_args(rest)
        except TypeError:  # a parser with subcommands
            parser.parse_args(rest)


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    words = ["mkdocs", "build", "--strict", "-f", "docs/mkdocs.yml", "-d", str(tmp_path / "site")]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}  # a banner of the theme, about its future
    made = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, env=quiet
    )
    assert made.returncode == 0, made.stderr[-3000:]
    assert "WARNING" not in made.stderr
    schemes = (tmp_path / "site" / "reference" / "schemes" / "index.html").read_text()
    assert 'id="t5_bias"' in schemes and "Raffel" in schemes
    # No page asks another host for a style, a script, a font or a picture.
    for page in (tmp_path / "site").rglob("*.html"):
        loaded = re.findall(r'<(?:script|img|link[^>]*stylesheet)[^>]*?(?:src|href)="([^"]+)"',
                            page.read_text())  # fmt: skip
        assert not [url for url in loaded if url.startswith(("http:", "https:", "//"))], page
