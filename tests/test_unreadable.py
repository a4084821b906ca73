"""Files that are there and that the disk does not give: one line, and nothing is written anew."""

import builtins
import errno
import io
import os
from pathlib import Path

import pytest

from lengthgen import files
from lengthgen.config import catalogue
from lengthgen.errors import DataError, DiskError
from lengthgen.evaluation import seals
from lengthgen.runs import kept_code
from lengthgen.runs.folder import RunFolder
from lengthgen.studies import declaration, study_folder
from lengthgen.studies.losses import EvaluatedRun

ERRORS = (errno.EIO, errno.EACCES, errno.EMFILE)


@pytest.fixture(params=ERRORS, ids=errno.errorcode.get)
def unreadable(request, monkeypatch):
    """A function: from then on a file cannot be opened to be read."""
    refused, opens = set(), io.open

    def open_file(path, mode="r", *given, **also):
        if isinstance(path, str | Path) and Path(path) in refused and "r" in mode:
            raise OSError(request.param, os.strerror(request.param), str(path))
        return opens(path, mode, *given, **also)

    monkeypatch.setattr(builtins, "open", open_file)
    monkeypatch.setattr(io, "open", open_file)
    return refused.add


def test_json_is_the_default_only_where_it_is_missing_or_broken(tmp_path, unreadable):
    path = tmp_path / "a.json"
    assert files.read_json(path, 1) == 1 and files.read_json(tmp_path, 1) == 1
    path.write_text("{")
    assert files.read_json(path, 1) == 1
    files.write_json(path, {"a": 2})
    unreadable(path)
    with pytest.raises(DiskError, match=r"cannot read .*a\.json"):
        files.read_json(path, 1)


def test_a_note_keeps_what_it_cannot_read(tmp_path, unreadable):
    """It would otherwise replace provenance.json by the note alone."""
    folder = RunFolder(tmp_path)
    files.write_json(folder.provenance, {"commit": "abc"})
    before = folder.provenance.read_bytes()
    unreadable(folder.provenance)
    with pytest.raises(DiskError, match=r"provenance\.json"):
        folder.note({"changes": []})
    kept = os.open(folder.provenance, os.O_RDONLY)
    assert os.read(kept, 1000) == before
    os.close(kept)


def test_sums_of_a_file_that_cannot_be_read(tmp_path, unreadable):
    (tmp_path / "b.csv").write_text("x\n")
    unreadable(tmp_path / "b.csv")
    with pytest.raises(DiskError, match=r"cannot read .*b\.csv"):
        seals.seal(tmp_path, "b")


def test_tables_and_declarations_of_studies(tmp_path, unreadable):
    for name in ("c.csv", "d.yaml"):
        (tmp_path / name).write_text("# what it is\n")
        unreadable(tmp_path / name)
    for read in (
        lambda: study_folder.read(tmp_path / "c.csv"),
        lambda: declaration.read(tmp_path / "d.yaml"),
        lambda: catalogue.meaning(tmp_path / "d.yaml"),
    ):
        with pytest.raises(DiskError, match="cannot read"):
            read()


def test_a_run_whose_configuration_cannot_be_read(tmp_path, unreadable):
    folder = tmp_path / "run" / "evaluation" / "e"
    folder.mkdir(parents=True)
    path = tmp_path / "run" / "config.yaml"
    path.write_text("train_length: 8\n")
    unreadable(path)
    with pytest.raises(DataError, match=r"its config\.yaml cannot be read"):
        _ = EvaluatedRun(folder).train_length


def test_a_configuration_that_is_searched_for_interpolations(tmp_path, unreadable):
    folder = RunFolder(tmp_path)
    folder.config.write_text("seed: 0\n")
    kept_code.refuse_interpolations(folder)
    unreadable(folder.config)
    with pytest.raises(DiskError, match=r"cannot read .*config\.yaml"):
        kept_code.refuse_interpolations(folder)


def test_what_cannot_be_removed(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(DiskError):
        files.remove(tmp_path / "folder")
    files.remove(tmp_path / "nothing")
