"""TensorBoard events, through torch.utils.tensorboard, in the folder `tensorboard/` of the run.

Training metrics are scalars against the step, length curves against the evaluation length (read the
step axis as tokens). The configuration, facts of the run and the table of lengths are texts,
figures are images; settings are hyperparameters, and the curves' points their metrics.
"""

import importlib.util
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lengthgen.tracking import curves
from lengthgen.tracking.seam import LOGGER, Backend, RunDescription


@dataclass
class TensorBoardConfig:
    name: str = "tensorboard"
    flush_seconds: int = 30  # at most so much is lost when the process is killed


class TensorBoard(Backend):
    label = "TensorBoard"
    Config = TensorBoardConfig
    active = True

    def __init__(self, config: TensorBoardConfig, description: RunDescription):
        super().__init__(config, description)
        self._writer: Any = None

    def missing(self) -> str | None:
        if find_spec("tensorboard") is None:
            return "tensorboard is not installed (pip install tensorboard)"
        # not in the thread: two threads that import at once can meet half-made modules
        try:
            import torch.utils.tensorboard  # noqa: F401
        except Exception as error:
            return f"tensorboard cannot be imported ({type(error).__name__}: {error})"
        return None

    def open(self) -> None:
        from torch.utils.tensorboard import SummaryWriter

        run, folder = self.description, self.description.folder / "tensorboard"
        self._writer = SummaryWriter(str(folder), flush_secs=self.config.flush_seconds)
        about = [("run", run.id), ("name", run.name), ("group", run.group)]
        about += [("job_type", run.job_type), ("tags", ", ".join(run.tags))]
        self._writer.add_text("run", _markdown(["", ""], about))
        settings = sorted(_flat(run.config).items())
        self._writer.add_text("config", _markdown(["key", "value"], settings))
        LOGGER.info("TensorBoard: tensorboard --logdir %s", folder)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, float(value), step)

    def summary(self, facts: Mapping[str, Any]) -> None:
        self._writer.add_text("facts", _markdown(["fact", "value"], sorted(facts.items())))

    def curves(self, rows: Sequence[Mapping]) -> None:
        rows = curves.plain(rows)
        for point in curves.points(rows):
            length = point.pop("eval/length")
            for name, value in point.items():
                self._writer.add_scalar(name, value, length)
        self._writer.add_text("eval/lengths", _markdown(*curves.table(rows)))
        self._hyperparameters(curves.scalars(rows))

    def figures(self, files: Mapping[str, Path]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        for name, file in files.items():
            content = file.read_bytes()
            width, height = struct.unpack(">II", content[16:24])  # of a PNG's header
            image = Summary.Image(height=height, width=width, encoded_image_string=content)
            value = Summary.Value(tag=f"figures/{name}", image=image)
            self._writer.file_writer.add_summary(Summary(value=[value]))

    def close(self, exit_code: int) -> None:
        if exit_code:
            self._writer.add_text("status", f"not finished: exit code {exit_code}")
        self._writer.close()

    def _hyperparameters(self, scalars: Mapping[str, float]) -> None:
        """In this run: SummaryWriter.add_hparams makes another, in a folder below."""
        from torch.utils.tensorboard.summary import hparams

        given = _flat(self.description.config)
        simple = {k: v for k, v in given.items() if isinstance(v, str | bool | int | float)}
        for summary in hparams(simple, dict(scalars)):
            self._writer.file_writer.add_summary(summary)
        for name, value in scalars.items():
            self._writer.add_scalar(name, value)


def find_spec(library: str) -> Any:
    """importlib's, which raises where a test has put None for the library into sys.modules."""
    return importlib.util.find_spec(library) if sys.modules.get(library, 0) is not None else None


def _flat(config: Mapping, prefix: str = "") -> dict[str, Any]:
    """{"optim.lr": 0.001, ...}"""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        nested = isinstance(value, Mapping)
        flat |= _flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def _markdown(columns: Sequence[str], data: Sequence[Sequence]) -> str:
    lines = [columns, ["---"] * len(columns), *data]
    cells = (["" if cell is None else str(cell) for cell in line] for line in lines)
    return "\n".join(f"|{'|'.join(line)}|" for line in cells)
