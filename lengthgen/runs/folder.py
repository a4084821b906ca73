"""The folder of one run: where its files are, who may work on it, what is finished.

results/runs/<run id>/
  config.yaml        everything, resolved          provenance.json   command, commit, versions, device, data
  metrics.jsonl      one line a logged step        log.txt           what the run printed
  checkpoints/       step-NNNNNN/
  scheme/, modifier/, dataset/  the code of those from outside the package that it was trained with
  retrofits/<code>/retrofit/  the code of such a retrofit, by its hash: the same name may be other code at another evaluation
  evaluation/<id>/   tables and per-token losses of one evaluation; the folder appears whole or not at all
  diagnostics/<id>/  tables and figures of one set of diagnostics; the folder appears whole or not at all
  figures/           curves of this run            done.json         weights' hash and evaluations, written last
"""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from lengthgen import files
from lengthgen.errors import ConfigError, LockedError
from lengthgen.evaluation import records


class RunFolder:
    def __init__(self, path: Path):
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.metrics = path / "metrics.jsonl"
        self.config = path / "config.yaml"
        self.provenance = path / "provenance.json"
        self.figures = path / "figures"
        self.done = path / "done.json"

    def keep(self, file: Path, code: str | None = None) -> None:
        """Copy the code of a scheme, modifier or dataset, or of a retrofit with the hash `code`, from outside the package: kind/NAME.py."""
        kept = (self.path if code is None else self.retrofit(code)) / file.parent.name
        files.write_bytes(kept / file.name, file.read_bytes())

    def retrofit(self, code: str) -> Path:
        """What `--config-dir` was for a retrofit from outside the package, by the hash of its code."""
        return self.path / "retrofits" / code

    def evaluation(self, evaluation_id: str) -> Path:
        return self.path / "evaluation" / evaluation_id

    def finished(self, evaluation_id: str) -> bool:
        """Trained, and evaluated under these settings."""
        return self.done.exists() and self.evaluation(evaluation_id).is_dir()

    def finish(self, weights_sha256: str) -> None:
        evaluations = [path.name for path in records.run(self.path).evaluations]
        files.write_json(self.done, {"weights_sha256": weights_sha256, "evaluations": evaluations})

    def forget_metrics_after(self, step: int) -> None:
        """Drop metric lines of steps that a killed process did after its last checkpoint: they will be done again."""
        if not self.metrics.exists():
            return
        files.write_jsonl(
            self.metrics,
            [row for row in files.read_jsonl(self.metrics) if row.get("step", 0) <= step],
        )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time. LockedError if another holds the run; DiskError if the folder cannot be made."""
        files.make_folder(self.path)
        lock = FileLock(self.path / ".lock", timeout=0)
        with files.disk_errors(self.path):
            try:
                lock.acquire()
            except Timeout:  # an OSError too
                raise LockedError(
                    f"run {self.path.name} is being worked on by another process; wait for it, then give the command again"
                ) from None
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def logged(self) -> Iterator[None]:
        """What the package logs goes to the run's log.txt as well."""
        handler = logging.FileHandler(self.path / "log.txt")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger = logging.getLogger("lengthgen")
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            handler.close()


def find(results: Path, run: str) -> RunFolder:
    """The run named by its id, by an unambiguous part of it, or by its path. ConfigError names what there is."""
    for path in (Path(run), results / "runs" / run):
        if (path / "config.yaml").is_file():
            return RunFolder(path)
    there = sorted(path.parent.name for path in (results / "runs").glob("*/config.yaml"))
    matching = [name for name in there if run in name]
    if len(matching) == 1:
        return RunFolder(results / "runs" / matching[0])
    if matching:
        raise ConfigError(
            f"run={run} fits {len(matching)} runs; expected one: {', '.join(matching[:4])}{' ...' if len(matching) > 4 else ''}"
        )
    raise ConfigError(
        f"run={run}: no such run in {results / 'runs'}; `lengthgen list runs` shows all {len(there)}"
    )
