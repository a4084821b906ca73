"""The token store: what goes in comes out, damage is found, and concurrent writers do no harm."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import lengthgen
from lengthgen.data.tokens import open_store, write_store
from lengthgen.errors import DataError, DiskError

ROOT = Path(lengthgen.__file__).parents[1]
DOCUMENTS = [("a", [256, 1, 2, 3]), ("b/ü", [256]), ("c", [256, 255, 0])]


def store_at(folder, documents=DOCUMENTS, vocab_size=257):
    token_bytes = np.ones(vocab_size, dtype=np.int64)
    token_bytes[-1] = 0
    return write_store(
        folder,
        ((n, np.array(ids) if ids else np.zeros(0, int)) for n, ids in documents),
        vocab_size=vocab_size,
        token_bytes=token_bytes,
    )


def test_round_trip(tmp_path):
    written = store_at(tmp_path / "s")
    for store in (written, open_store(tmp_path / "s")):
        assert store.names == ["a", "b/ü", "c"] and store.n_documents == 3 and store.n_tokens == 8
        assert store.offsets.dtype == np.int64 and store.offsets.tolist() == [0, 4, 5, 8]
        assert store.lengths.tolist() == [4, 1, 3]
        assert [store.document(i).tolist() for i in range(3)] == [ids for _, ids in DOCUMENTS]
        assert store.document(0).dtype == torch.int64
        assert store.tokens(2, 6).tolist() == [2, 3, 256, 256]
        assert (
            store.vocab_size == 257
            and store.token_bytes.sum() == 256
            and store.token_bytes[256] == 0
        )
        assert store.fingerprint == written.fingerprint and len(store.fingerprint) == 16
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s"]


@pytest.mark.parametrize(
    "vocab_size, storage",
    [(257, torch.int16), (65_536, torch.int16), (65_537, torch.int32), (2**20, torch.int32)],
)
def test_ids_at_the_edges_of_the_storage(tmp_path, vocab_size, storage):
    ids = [0, 32_767, 32_768, 40_000, 65_535, 65_536, vocab_size - 1]
    ids = [i for i in ids if i < vocab_size]
    store = store_at(tmp_path / "s", [("d", ids)], vocab_size)
    assert store.stream.dtype == storage
    assert store.document(0).tolist() == ids


def test_bounds(tmp_path):
    store = store_at(tmp_path / "s")
    assert store.tokens(8, 8).numel() == 0
    for first, last in ((-1, 2), (3, 2), (0, 9)):
        with pytest.raises(IndexError):
            store.tokens(first, last)
    for index in (-1, 3):
        with pytest.raises(IndexError):
            store.document(index)


def test_starts_counts_the_windows_in_documents(tmp_path):
    store = store_at(tmp_path / "s")
    assert store.starts(1).tolist() == [3, 3, 5]
    assert store.starts(3).tolist() == [1, 1, 1]
    assert store.starts(4).tolist() == [0, 0, 0]


def test_fingerprint_covers_tokens_offsets_and_vocabulary(tmp_path):
    base = [("a", [1, 2, 3]), ("b", [4, 5])]
    variants = {
        "same": (base, 257),
        "renamed": ([("x", [1, 2, 3]), ("y", [4, 5])], 257),
        "one id": ([("a", [1, 2, 3]), ("b", [4, 6])], 257),
        "boundary": ([("a", [1, 2]), ("b", [3, 4, 5])], 257),
        "order": (base[::-1], 257),
        "vocabulary": (base, 258),
    }
    prints = {
        name: store_at(tmp_path / name, *variant).fingerprint for name, variant in variants.items()
    }
    assert prints["same"] == prints["renamed"]
    assert len(set(prints.values())) == 5


@pytest.mark.parametrize(
    "documents, says",
    [
        ([], "no documents"),
        ([("a", [1]), ("a", [2])], "two documents are named 'a'"),
        ([("a", [])], "no tokens"),
        ([("a", [1, 2, 257])], "token id 257 at position 2; expected 0 to 256"),
        ([("a", [-1])], "token id -1 at position 0"),
        ([("a", [1.0, 2.0])], "float64"),
        ([("a", [[1, 2]])], "shape (1, 2)"),
        ([("a", [2**40])], f"token id {2**40}"),
    ],
)
def test_bad_documents_write_nothing(tmp_path, documents, says):
    with pytest.raises(DataError) as caught:
        store_at(tmp_path / "s", documents)
    assert (
        says in str(caught.value) and "\n" not in str(caught.value) and caught.value.exit_code == 3
    )
    assert list(tmp_path.iterdir()) == []


def damage(folder, how):
    tokens = folder / "tokens.bin"
    described = json.loads((folder / "store.json").read_text())
    if how == "truncated":
        tokens.write_bytes(tokens.read_bytes()[:-2])
    elif how == "longer":
        tokens.write_bytes(tokens.read_bytes() + b"\0\0")
    elif how == "one bit":
        raw = bytearray(tokens.read_bytes())
        raw[3] ^= 1
        tokens.write_bytes(raw)
    elif how == "zeroed offsets":
        path = folder / "offsets.npy"
        path.write_bytes(bytes(path.stat().st_size))
    elif how == "no names":
        (folder / "names.json").unlink()
    elif how == "no folder":
        folder.rename(folder.with_name("elsewhere"))
    elif how == "empty description":
        (folder / "store.json").write_bytes(b"")
    elif how == "other format":
        (folder / "store.json").write_text(json.dumps(described | {"format": 99}))
    elif how == "a list":
        (folder / "store.json").write_text("[]")
    elif how == "n_tokens":
        (folder / "store.json").write_text(json.dumps(described | {"n_tokens": 7}))


HOWS = [
    "truncated",
    "longer",
    "one bit",
    "zeroed offsets",
    "no names",
    "no folder",
    "empty description",
    "other format",
    "a list",
    "n_tokens",
]


@pytest.mark.parametrize("how", HOWS)
def test_damage_is_one_line_and_writing_again_mends_it(tmp_path, how):
    folder = tmp_path / "s"
    fingerprint = store_at(folder).fingerprint
    damage(folder, how)
    with pytest.raises(DataError, match="damaged") as caught:
        open_store(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
    assert store_at(folder).fingerprint == fingerprint
    assert open_store(folder).document(0).tolist() == [256, 1, 2, 3]


def test_a_mapped_store_survives_its_replacement(tmp_path):
    old = store_at(tmp_path / "s")
    store_at(tmp_path / "s", [("new", [7, 7, 7])])
    assert old.document(0).tolist() == [256, 1, 2, 3]
    assert open_store(tmp_path / "s").names == ["new"]


def test_failure_in_the_middle_leaves_nothing(tmp_path):
    def documents():
        yield "a", np.array([1, 2])
        raise RuntimeError("source broke")

    with pytest.raises(RuntimeError):
        write_store(tmp_path / "s", documents(), vocab_size=257, token_bytes=np.ones(257))
    assert list(tmp_path.iterdir()) == []


def test_unwritable_place_is_a_disk_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DiskError) as caught:
        store_at(tmp_path / "file" / "s")
    assert "\n" not in str(caught.value) and caught.value.exit_code == 7


def test_what_a_killed_writer_left_is_swept_after_a_day(tmp_path):
    for name, age in ((".s.1-aa.tmp", 100_000), (".s.2-bb.tmp", 10)):
        left = tmp_path / name
        left.mkdir()
        os.utime(left, (left.stat().st_mtime - age,) * 2)
    store_at(tmp_path / "s")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".s.2-bb.tmp", "s"]


WRITER = """
import sys, time, numpy as np
from pathlib import Path
from lengthgen.data.tokens import write_store
folder = Path(sys.argv[1])
(folder.parent / f"ready{sys.argv[2]}").touch()
while len(list(folder.parent.glob("ready*"))) < 3:
    time.sleep(0.001)
for k in range(6):
    docs = ((f"d{i}", np.full(1000, i)) for i in range(20))
    print(write_store(folder / str(k), docs, vocab_size=257, token_bytes=np.ones(257)).fingerprint)
"""


def test_processes_that_write_the_same_stores_at_once_agree(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", WRITER, str(tmp_path / "stores")]
    running = [
        subprocess.Popen([*command, str(i)], env=environment, stdout=subprocess.PIPE, text=True)
        for i in range(3)
    ]
    try:
        outputs = [process.communicate(timeout=300)[0].split() for process in running]
    finally:
        for process in running:
            process.kill()  # one that died would leave the others waiting for it
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len({line for output in outputs for line in output}) == 1 and [
        len(output) for output in outputs
    ] == [6, 6, 6]
    assert sorted(p.name for p in (tmp_path / "stores").iterdir()) == sorted(map(str, range(6)))
    assert open_store(tmp_path / "stores" / "0").document(7).tolist() == [7] * 1000
