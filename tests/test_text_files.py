"""Texts and their lines, plain and compressed: the same bytes, and no bomb is unpacked."""

import bz2
import gzip
import lzma
import random
import tracemalloc

import pyarrow
import pytest

from lengthgen.data import formats, text_files
from lengthgen.errors import DataError

PACK = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda raw: pyarrow.compress(raw, codec="zstd", asbytes=True),
}
MEBIBYTE = 2**20


def written(folder, name, raw):
    """A file of these bytes, packed as its ending says."""
    path = folder / name
    path.write_bytes(PACK.get(name.rpartition(".")[2], bytes)(raw))
    return path


def peak(work):
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("ending", PACK)
def test_a_bomb_of_what_is_no_text_is_not_unpacked(tmp_path, monkeypatch, ending):
    monkeypatch.setattr(text_files, "PIECE", MEBIBYTE)
    path = written(tmp_path, f"bomb.txt.{ending}", bytes(48 * MEBIBYTE))
    assert path.stat().st_size < MEBIBYTE

    def refused():
        with pytest.raises(DataError, match="byte 0x00 at offset 0 is not UTF-8 text"):
            formats.read_text(path, "strict")

    assert peak(refused) < 12 * MEBIBYTE


def test_a_bomb_of_one_line_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(text_files, "PIECE", MEBIBYTE)
    path = written(tmp_path, "bomb.jsonl.gz", bytes(48 * MEBIBYTE))

    def refused():
        with pytest.raises(DataError, match="byte 0x00 at offset 0"):
            next(formats.read_records(path, "strict", ("text",)))

    assert peak(refused) < 12 * MEBIBYTE


@pytest.mark.parametrize("name", ["bomb.txt.gz", "bomb.jsonl.gz", "bomb.json.gz", "bomb.csv.xz"])
def test_a_text_that_no_memory_holds_is_refused_on_the_way(tmp_path, monkeypatch, name):
    monkeypatch.setattr(text_files, "PIECE", MEBIBYTE)
    monkeypatch.setattr(text_files, "most_bytes", lambda: 3 * MEBIBYTE)
    path = written(tmp_path, name, b"a" * (48 * MEBIBYTE))

    def refused():
        with pytest.raises(DataError, match=r"bomb.*holds more than 3,145,728 bytes.*divide it"):
            if ".txt" in name:
                formats.read_text(path, "strict")
            else:
                next(formats.read_records(path, "strict", ("text",)))

    assert peak(refused) < 24 * MEBIBYTE  # xz alone takes 8


@pytest.mark.parametrize("errors", ["strict", "replace"])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_pieces_change_nothing(tmp_path, monkeypatch, size, errors):
    """Whole and broken characters across the ends of pieces, as in one reading."""
    chance = random.Random(size)
    bits = ["a", "\n", "é", "€", "💥", "\ufeff"]
    broken = [b"\x80", b"\xc3", b"\xe2\x82", b"\xf0\x9f", b"\xff", b"\0", b"\xe0\x80"]
    monkeypatch.setattr(text_files, "PIECE", size)
    for number in range(60):
        parts = [chance.choice(bits).encode() for _ in range(12)]
        if number % 2:
            parts.insert(chance.randrange(12), chance.choice(broken))
        raw = b"".join(parts)
        plain, packed = (written(tmp_path, name, raw) for name in ("a.txt", "a.txt.gz"))
        assert text_of(packed, errors) == text_of(plain, errors)
        # lines keep no byte-order mark, and are checked one by one
        if errors == "strict" and isinstance(text_of(plain, errors), bytes):
            lines = b"".join(text_files.lines(packed, errors))
            assert lines == raw.removeprefix(text_files.BOM)


def text_of(path, errors):
    try:
        return formats.read_text(path, errors)
    except DataError as error:
        return str(error).replace(str(path), "")
