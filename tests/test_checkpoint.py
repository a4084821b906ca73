"""Checkpoints: damage is noticed and the one before is used; nothing half-written is ever read."""

import hashlib
import io
import json
import os
import pickle
import random
import zipfile

import pytest
import torch

from lengthgen import files
from lengthgen.errors import DiskError
from lengthgen.training import checkpoint


def state(step):
    return {"step": step, "model": {"w": torch.full((500,), float(step))}}


def save(folder, *steps, keep=2):
    for step in steps:
        checkpoint.save(folder, step, state(step), keep)


def test_newest_is_loaded_and_older_ones_are_dropped(tmp_path):
    save(tmp_path, 10, 20, 100)
    assert checkpoint.load_newest(tmp_path)["step"] == 100
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000020", "step-000100"]


def test_none_where_there_is_none(tmp_path):
    assert checkpoint.load_newest(tmp_path / "missing") is None


@pytest.mark.parametrize("name", ["state.pt", "manifest.json"])
def test_any_flipped_bit_is_noticed_and_the_one_before_is_used(tmp_path, name, caplog):
    chance = random.Random(0)
    for _ in range(25):
        save(tmp_path, 1, 2)
        path = tmp_path / "step-000002" / name
        content = bytearray(path.read_bytes())
        in_sum = (
            content.index(b"state.pt") + 14 if name == "manifest.json" else 0
        )  # elsewhere a flip may change no meaning
        place = in_sum + chance.randrange(50 if in_sum else len(content))
        content[place] ^= 1 << chance.randrange(7)
        path.write_bytes(content)
        loaded = checkpoint.load_newest(tmp_path)
        assert loaded["step"] == 1 and torch.equal(loaded["model"]["w"], state(1)["model"]["w"])
        assert (tmp_path / "step-000002.corrupt").exists()
    assert "not usable" in caplog.text


@pytest.mark.parametrize("damage", ["truncate", "remove state", "remove manifest", "swap"])
def test_other_damage(tmp_path, damage):
    save(tmp_path, 1, 2)
    newest = tmp_path / "step-000002"
    if damage == "truncate":
        os.truncate(newest / "state.pt", 100)
    elif damage == "swap":
        (newest / "state.pt").write_bytes((tmp_path / "step-000001" / "state.pt").read_bytes())
    else:
        (newest / {"remove state": "state.pt", "remove manifest": "manifest.json"}[damage]).unlink()
    assert checkpoint.load_newest(tmp_path)["step"] == 1


def test_all_damaged_is_none_and_nothing_is_deleted(tmp_path):
    save(tmp_path, 1, 2)
    for step in (1, 2):
        os.truncate(tmp_path / f"step-00000{step}" / "state.pt", 10)
    assert checkpoint.load_newest(tmp_path) is None
    assert len(list(tmp_path.glob("*.corrupt"))) == 2


def test_leftovers_of_a_killed_process_are_not_read_and_are_swept(tmp_path):
    save(tmp_path, 1)
    (tmp_path / ".step-000002.1.ab.tmp").mkdir()
    assert checkpoint.load_newest(tmp_path)["step"] == 1
    assert not (tmp_path / ".step-000002.1.ab.tmp").exists()


def test_a_full_disk_keeps_the_old_checkpoint_and_is_one_line(tmp_path, monkeypatch):
    save(tmp_path, 1)

    def full(*_):
        raise RuntimeError(
            "[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534\nmore"
        )

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(DiskError, match=r"^[^\n]*MB free[^\n]*$"):
        checkpoint.save(tmp_path, 2, state(2), 2)
    monkeypatch.undo()
    assert checkpoint.load_newest(tmp_path)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["step-000001"]


def test_nothing_is_executed_on_loading(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    checkpoint.save(tmp_path, 1, {"step": 1, "model": Evil()}, 2)
    assert checkpoint.load_newest(tmp_path) is None
    assert checkpoint.load(tmp_path, 1) is None
    assert not (tmp_path / "executed").exists() and (tmp_path / "step-000001.corrupt").exists()


CRAFTED = {
    "no dict": [1, 2],
    "a tensor": torch.ones(3),
    "empty": {},
    "no step": {"model": {"w": torch.ones(2)}},
    "no weights": {"step": 2},
    "a step in words": {"step": "2", "model": {"w": torch.ones(2)}},
    "a true step": {"step": True, "model": {"w": torch.ones(2)}},
    "a negative step": {"step": -1, "model": {"w": torch.ones(2)}},
    "weights in a list": {"step": 2, "model": [torch.ones(2)]},
    "weights in words": {"step": 2, "model": {"w": "ones"}},
    "none": None,
}


@pytest.mark.parametrize("crafted", CRAFTED)
def test_what_is_no_state_is_set_aside_though_its_sum_is_right(tmp_path, caplog, crafted):
    save(tmp_path, 1)
    checkpoint.save(tmp_path, 2, CRAFTED[crafted], 2)
    assert checkpoint.load_newest(tmp_path)["step"] == 1
    assert (tmp_path / "step-000002.corrupt").exists() and "not usable" in caplog.text


@pytest.mark.parametrize("content", ["", "PK", "zip", "pickle", "text"])
def test_a_file_that_is_no_archive_is_set_aside_though_its_sum_is_right(tmp_path, content):
    save(tmp_path, 1, 2)
    path, raw = tmp_path / "step-000002" / "state.pt", io.BytesIO()
    if content == "zip":
        with zipfile.ZipFile(raw, "w"):
            pass
    given = {"zip": raw.getvalue(), "pickle": pickle.dumps({"step": 2})}
    path.write_bytes(given.get(content, content.encode()))
    manifest = json.loads((path.parent / "manifest.json").read_text())
    manifest["sha256"]["state.pt"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (path.parent / "manifest.json").write_text(json.dumps(manifest))
    assert checkpoint.load_newest(tmp_path)["step"] == 1


def test_weights_hash_sees_names_shapes_and_bits():
    a, b = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    b.load_state_dict(a.state_dict())
    assert checkpoint.weights_sha256(a) == checkpoint.weights_sha256(b)
    with torch.no_grad():
        b.weight[0, 0] = torch.nextafter(b.weight[0, 0], torch.tensor(9.0))
    assert checkpoint.weights_sha256(a) != checkpoint.weights_sha256(b)


def test_a_background_writer_saves_what_the_state_was(tmp_path):
    with checkpoint.Writer(background=True) as writer:
        for step in (1, 2, 3):
            now = state(step) | {"groups": [{"lr": 0.1, "moment": torch.ones(2)}]}
            writer.save(tmp_path, step, now, keep=2)
            now["model"]["w"].zero_()  # as the next step changes the weights in place
            now["groups"][0]["moment"].zero_()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000002", "step-000003"]
    loaded = checkpoint.load_newest(tmp_path)
    assert torch.equal(loaded["model"]["w"], torch.full((500,), 3.0))
    assert torch.equal(loaded["groups"][0]["moment"], torch.ones(2))


@pytest.mark.parametrize("background", [False, True])
def test_a_writer_that_cannot_write_says_so_once(tmp_path, background):
    (tmp_path / "file").write_text("")
    with checkpoint.Writer(background) as writer:
        with pytest.raises(DiskError):
            writer.save(tmp_path / "file" / "checkpoints", 1, state(1), keep=2)
            writer.wait()
        writer.save(tmp_path, 2, state(2), keep=2)
    assert checkpoint.load_newest(tmp_path)["step"] == 2


def test_an_old_checkpoint_goes_at_once(tmp_path, monkeypatch):
    """A power cut in the middle of its removal leaves no half of it under its name."""
    checkpoint.save(tmp_path, 1, {"step": 1, "model": {}}, None)

    def cut(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "_remove", cut)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.forget_after(tmp_path, 0)
    assert not list(tmp_path.glob("step-*"))
    monkeypatch.undo()
    assert checkpoint.load_newest(tmp_path) is None
    assert not list(tmp_path.iterdir())
