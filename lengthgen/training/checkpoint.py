"""Checkpoints that survive a kill at any moment: written aside, synced, renamed; read by SHA-256.

A checkpoint is a folder step-000120/ with state.pt and manifest.json {file: sha256}. torch.load
notices no flipped bit, hence the sums. Reading takes the newest whole one; a damaged one is set
aside as *.corrupt, and the one before is used."""

import contextlib
import errno
import hashlib
import json
import logging
import math
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from lengthgen import files
from lengthgen.errors import CheckpointError, is_out_of_memory

log = logging.getLogger(__name__)
STATE, MANIFEST = "state.pt", "manifest.json"


def save(folder: Path, step: int, state: dict, keep: int | None, run: str = "") -> Path:
    """Write `state` as folder/step-NNNNNN, then delete all but the newest `keep` (None: none).

    run: whose it is, by its id. Whole or not at all. DiskError if it cannot be written.
    """
    final = folder / f"step-{step:06d}"
    with files.replacing_folder(final) as aside:
        try:
            torch.save(_by_itself(state), aside / STATE)
        except RuntimeError as error:  # how torch.save reports a full disk, without an errno
            raise OSError(errno.ENOSPC, "a part could not be written") from error
        sums = {STATE: files.sha256(aside / STATE)}
        manifest = {"run": run, "step": step, "torch": torch.__version__, "sha256": sums}
        (aside / MANIFEST).write_text(json.dumps(manifest))
    for old in _whole(folder)[:-keep] if keep else ():
        files.remove_folder(old)
    return final


class Writer:
    """`save`, where `background` in a thread: the training goes on while it hashes and syncs.

    writes=False: it saves nothing, as another rank does. A context manager, which waits for the
    last one. An error comes out of the next call.
    """

    def __init__(self, background: bool, writes: bool = True):
        self._writes = writes
        self._pool = ThreadPoolExecutor(max_workers=1) if background else None
        self._last: Future | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()
        if self._pool is not None:
            self._pool.shutdown()

    def save(self, folder: Path, step: int, state: dict, keep: int | None, run: str = "") -> None:
        self.wait()
        if not self._writes:
            return
        if self._pool is None:
            save(folder, step, state, keep, run)
        else:
            # The copy is made now: the next step changes the weights.
            self._last = self._pool.submit(save, folder, step, copied(state), keep, run)

    def wait(self) -> None:
        """Until the last one is written. DiskError if it could not be."""
        last, self._last = self._last, None
        if last is not None:
            last.result()


def copied(value: Any) -> Any:
    """With its tensors copied to host memory, through dicts and lists."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: copied(each) for key, each in value.items()}
    return [copied(each) for each in value] if isinstance(value, list) else value


def _by_itself(value: Any) -> Any:
    """With a copy of each tensor that is a part of a larger one, all of which would be written."""
    if isinstance(value, Tensor):
        whole = value.untyped_storage().nbytes() <= value.nbytes
        return value if whole else value.detach().clone()
    if not isinstance(value, dict | list):
        return value
    keys = list(value) if isinstance(value, dict) else range(len(value))
    parts = [_by_itself(value[key]) for key in keys]
    if all(part is value[key] for key, part in zip(keys, parts, strict=True)):
        return value
    return dict(zip(keys, parts, strict=True)) if isinstance(value, dict) else parts


def load_newest(
    folder: Path, map_location: str | torch.device = "cpu", run: str = "", before: float = math.inf
) -> dict | None:
    """The newest whole checkpoint's state, if any. Damaged ones are set aside, with a warning.

    run: so is one of another run. before: only those after fewer steps.
    """
    files.remove_leftovers(folder / "step-*")  # the run's lock is held: nobody is writing them
    for path in reversed([path for path in _whole(folder) if _step(path) < before]):
        fault = _fault(path, run)
        if fault is None:
            state, fault = _read(path, map_location)
        if fault is None:
            return state
        log.warning("checkpoint %s is not usable (%s); using the one before", path.name, fault)
        files.set_aside(path, f"{path.name}.corrupt")
    return None


def load(
    folder: Path, step: int, map_location: str | torch.device = "cpu", run: str = ""
) -> dict | None:
    """The whole checkpoint after `step` steps; None if it is missing, damaged or another run's."""
    path = folder / f"step-{step:06d}"
    return None if _fault(path, run) is not None else _read(path, map_location)[0]


def newest(folder: Path) -> Path | None:
    """The folder of the newest checkpoint that looks whole; its content is not checked."""
    found = _whole(folder)
    return found[-1] if found else None


@contextlib.contextmanager
def fitting(state: dict) -> Iterator[None]:
    """CheckpointError where a checkpoint's state does not fit what it is loaded into."""
    try:
        yield
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise CheckpointError(
            f"the checkpoint of step {state['step']} does not fit this run "
            f"({' '.join(str(error).split())[:200]}); delete it, then rerun the command"
        ) from error


def _read(path: Path, map_location: str | torch.device) -> tuple[dict | None, str | None]:
    """(the state, None), or (None, what is wrong with it). Nothing in it is executed."""
    try:
        state = torch.load(path / STATE, map_location=map_location, weights_only=True)
    except Exception as error:  # by a file that somebody made, torch.load fails in many ways
        if is_out_of_memory(error):
            raise
        return None, f"{STATE} cannot be read: {type(error).__name__}"
    if not isinstance(state, dict):
        return None, f"{STATE} holds no state but {type(state).__name__}"
    step, weights = state.get("step"), state.get("model")
    if type(step) is not int or step < 0 or not isinstance(weights, dict):
        return None, f"{STATE} has no step or no weights"
    if not all(isinstance(each, Tensor) for each in weights.values()):
        return None, f"{STATE} has weights that are no tensors"
    return state, None


def forget_after(folder: Path, step: int) -> None:
    """Delete the checkpoints after more than `step` steps."""
    for path in _whole(folder):
        if _step(path) > step:
            files.remove_folder(path)


def not_finite(model: torch.nn.Module) -> str:
    """The first parameter with a number that is not finite; "" if there is none."""
    for name, parameter in model.named_parameters():
        if not bool(parameter.detach().isfinite().all()):
            return name
    return ""


def weights_sha256(model: torch.nn.Module) -> str:
    """One hash over the names, shapes, dtypes and bytes of all weights."""
    return sha256_of(model.state_dict())


def sha256_of(weights: Mapping[str, torch.Tensor]) -> str:
    """`weights_sha256` of a model's state."""
    total = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        total.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        total.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def _whole(folder: Path) -> list[Path]:
    """Checkpoint folders by step, oldest first; never by time."""
    steps = (path for path in folder.glob("step-*") if path.name.removeprefix("step-").isdigit())
    return sorted((path for path in steps if path.is_dir()), key=_step)


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _fault(path: Path, run: str) -> str | None:
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        sums = manifest["sha256"]
        for name, expected in sums.items():
            if files.sha256(path / name) != expected:
                return f"{name} does not match its SHA-256"
        # Those of earlier versions name no run.
        if run and manifest.get("run", run) not in (run, ""):
            return f"it is of run {manifest['run']}"
        return None if STATE in sums else f"no sum for {STATE}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
