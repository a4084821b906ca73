"""Run folders and their files: what is written is written whole or not at all. Knows no torch and no pandas.

    results/runs/<run>/config.yaml provenance.json metrics.jsonl checkpoints/ figures/ log done.json (written last)
    results/runs/<run>/evaluation/<evaluation>/settings.json lengths.csv documents.csv positions.csv losses.npz

Every file is serialised beside its destination, flushed to the disk and moved over it in one step, so that a reader sees the
old file or the new one. Logs are appended with one write on an O_APPEND descriptor: several processes cannot tear each other's lines.
The tables are tidy CSV; the columns below are the contract between evaluation (which writes) and tables.py (which reads).
"""

import csv
import io
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import IO, Any

import numpy as np

from lengthgen.errors import DiskError

# Which run a row belongs to. scheme: a label such as t5_bias or t5_bias(num_buckets=64). setting: hash of everything scientific
# except scheme and seed. evaluation: hash of the evaluation's settings. Rows of different setting or evaluation are never compared.
IDENTITY = ("run", "scheme", "dataset", "model", "seed", "train_length", "steps", "setting", "evaluation")
# metric: loss [nats/token], perplexity, bits_per_byte, loss_change [nats/token, from train_length, same targets]; for data whose
# exact floor is known, floor and excess = loss - floor [nats/token, same tokens]. For data with answers all of these are of the answer
# tokens alone, and there are exact_match, the share of documents whose answer is wholly right, with Wilson's interval over documents, and
# token_accuracy, the share of answer tokens that are the model's most likely one (evaluation/exact_match.py). n_tokens: scored ones.
# status: ok, refused, oom, nonfinite; but for ok, value, low and high are empty and `reason` says why. leak: the loss is surely below its
# floor; the values are there as evidence, and no summary takes them.
LENGTHS = (
    *IDENTITY, "eval_length", "protocol", "metric", "value", "low", "high", "n_tokens", "n_documents", "dtype", "status", "reason",
)  # fmt: skip
# loss_sum in nats; floor_sum: the exact floor of the same tokens, empty where there is none. Tables from before it lack the column.
DOCUMENTS = (*IDENTITY, "eval_length", "protocol", "document", "loss_sum", "n_tokens", "n_bytes", "floor_sum")
# One bin of positions [position, position_end) in a window of eval_length tokens; value in nats/token.
POSITIONS = (*IDENTITY, "eval_length", "position", "position_end", "value", "low", "high", "n_tokens", "n_documents")
TABLES = {"lengths": LENGTHS, "documents": DOCUMENTS, "positions": POSITIONS}

FLOAT_FORMAT = "%.10g"  # far below any loss's noise, and short enough for a committed table


@dataclass(frozen=True)
class Run:
    """One run folder. status: "done" (its last file is there), "unfinished", or "unreadable" (config.yaml is missing or broken)."""

    name: str
    folder: Path
    config: Mapping[str, Any]
    status: str

    @property
    def provenance(self) -> dict[str, Any]:
        """What made the run: command, commit, versions, device, threads. Empty if the file is missing or broken."""
        return read_json(self.folder / "provenance.json", {})

    @property
    def evaluations(self) -> list[Path]:
        """The folders of its finished evaluations: those that hold every table."""
        folders = sorted(path for path in (self.folder / "evaluation").glob("*") if path.is_dir())
        return [folder for folder in folders if all((folder / f"{table}.csv").is_file() for table in TABLES)]


def run(folder: Path) -> Run:
    """The run in `folder`."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    status = "done" if (folder / "done.json").is_file() else "unfinished"
    try:
        config = yaml.load((folder / "config.yaml").read_text(encoding="utf-8"), loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        config = None
    if not isinstance(config, dict):
        return Run(folder.name, folder, {}, "unreadable")
    return Run(folder.name, folder, config, status)


def runs(results: Path | str) -> list[Run]:
    """Every run under results/runs, by name. One broken folder does not hide the others."""
    folders = (path for path in (Path(results) / "runs").glob("*") if path.is_dir() and not path.name.startswith("."))
    return [run(folder) for folder in sorted(folders)]


@contextmanager
def replacing(path: Path | str) -> Iterator[IO[bytes]]:
    """A binary file that takes the place of `path` when the block ends without an error; otherwise nothing changes.

    DiskError in one line if the disk is full or not writable.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _flush_folder(path.parent)
    except OSError as error:
        raise _disk_error(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path | str, content: bytes) -> None:
    """Replace `path` by `content` in one step."""
    with replacing(path) as file:
        file.write(content)


def write_text(path: Path | str, content: str) -> None:
    """Replace `path` by `content` (UTF-8, line ends as given) in one step."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path | str, content: Any) -> None:
    """Replace `path` by readable JSON. NumPy scalars and paths are understood; NaN and Infinity stay as Python writes them."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, default=_plain) + "\n")


def read_json(path: Path | str, default: Any = None) -> Any:
    """The content of a JSON file, or `default` if it is missing or broken."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return default


def write_npz(path: Path | str, arrays: Mapping[str, np.ndarray]) -> None:
    """Replace `path` by named arrays, uncompressed. The same arrays give the same bytes."""
    content = io.BytesIO()  # a zip seeks back and forth: in memory, so that the file is written once
    np.savez(content, **arrays)
    write_bytes(path, content.getvalue())


def write_table(path: Path | str, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Replace `path` by a CSV of `rows`. Each row has exactly `columns`; None and NaN become empty cells.

    ValueError names the columns that are missing or unknown.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        if row.keys() != set(columns):
            missing, unknown = sorted(set(columns) - row.keys()), sorted(row.keys() - set(columns))
            raise ValueError(f"a row of {Path(path).name} lacks {missing} and has unknown {unknown}; expected {list(columns)}")
        writer.writerow([_cell(row[column]) for column in columns])
    write_text(path, text.getvalue())


def append_jsonl(path: Path | str, record: Mapping[str, Any]) -> None:
    """Add one line to a log, in one write. A line that a crash tore stays alone: the new one starts on its own line.

    Several processes may write at once: no line is torn, at most a blank one is left between two.
    """
    line = (json.dumps(record, ensure_ascii=False, default=_plain) + "\n").encode("utf-8")
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line
            if os.write(descriptor, line) != len(line):
                raise OSError("only a part of the line could be written; the disk is probably full")
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _disk_error(path, error) from error


def read_jsonl(path: Path | str) -> list[dict[str, Any]]:
    """The records of a log, in order; lines torn by a crash are left out. Empty if there is no file."""
    try:
        lines = Path(path).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    records = []
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            records.append(record)
    return records


def _cell(value: Any) -> Any:
    if value is None or value != value:
        return ""
    if isinstance(value, Integral | bool | str):
        return value
    return FLOAT_FORMAT % value if isinstance(value, Real) else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _flush_folder(folder: Path) -> None:
    """Make a rename outlive a power cut. Some file systems cannot flush a folder; the rename is atomic all the same."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _disk_error(path: Path, error: OSError) -> DiskError:
    reason = error.strerror or str(error)
    return DiskError(f"cannot write {path}: {reason}; free space there or choose another folder, then run the same command again")
