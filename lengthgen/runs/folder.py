"""The folder of one run: where its files are, who may work on it, what is finished.

results/runs/<run id>/
  config.yaml         everything, resolved
  provenance.json     command, commit, versions, device, data
  metrics.jsonl       one line a logged step
  log.txt             what the run printed
  checkpoints/        step-NNNNNN/
  weights/            step-NNNNNN/ of keep_at_steps and evaluate_at_steps
  scheme/ modifier/ dataset/      the user's code that it was trained with
  retrofits/<code>/retrofit/      the user's code of a retrofit, by the hash of it
  evaluation/<id>/    tables and per-token losses of one evaluation
  diagnostics/<id>/   tables and figures of one set of diagnostics
  figures/            curves of this run
  done.json           weights' hash, evaluations, sums of files and figures; written last

The folders of evaluations and diagnostics appear whole or not at all. done.json seals itself and
the run's own files, an evaluation's manifest.json that evaluation (seals.py).
"""

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lengthgen import files
from lengthgen.config import paths
from lengthgen.errors import CheckpointError, ConfigError, LockedError
from lengthgen.evaluation import records, seals
from lengthgen.terminal.messages import logged_to

log = logging.getLogger(__name__)
CODE = ("scheme", "modifier", "dataset")  # folders of the user's code
# Own files that the training command writes again, and what it says.
REMADE = {
    "config.yaml": "written again",
    "provenance.json": "written again, of this process: it says `rewritten`",
    "metrics.jsonl": "put aside as metrics.jsonl.damaged; the curve of the training is gone",
}


class RunFolder:
    def __init__(self, path: Path):
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.kept_weights = path / "weights"
        self.metrics = path / "metrics.jsonl"
        self.config = path / "config.yaml"
        self.provenance = path / "provenance.json"
        self.done = path / "done.json"

    def keep(self, file: Path, code: str | None = None) -> None:
        """Copy a user's code, mine/KIND/NAME.py. code: its hash, where it is a retrofit's."""
        parent = self.path if code is None else self.retrofit(code)
        files.write_bytes(parent / file.parent.name / file.name, file.read_bytes())

    def retrofit(self, code: str) -> Path:
        """What `--config-dir` was for a user's retrofit with this hash of its code."""
        return self.path / "retrofits" / code

    def evaluation(self, evaluation_id: str) -> Path:
        return self.path / "evaluation" / evaluation_id

    @property
    def ended(self) -> dict[str, Any]:
        """What done.json says. Empty where it is missing or damaged: the run is not done then."""
        about = records.read_done(self.path)
        return about if "weights_sha256" in about else {}

    def finished(self, evaluation_id: str) -> bool:
        """Trained, and evaluated under these settings, with nothing damaged of either."""
        return bool(self.ended) and self.evaluated(evaluation_id) and not self.faults

    def evaluated(self, evaluation_id: str) -> bool:
        """Whether this evaluation is there and as it was written."""
        folder = self.evaluation(evaluation_id)
        return folder.is_dir() and not records.run(self.path).faults_of(folder)

    @property
    def faults(self) -> list[str]:
        """What is damaged or missing of the run's own files, each in a few words."""
        return records.run(self.path).faults

    def has_figures(self, settings: str) -> bool:
        """Whether the figures of evaluations with these settings are there as they were drawn.

        True for a run of a version before the seals, which did not note its figures.
        """
        ended = self.ended
        if "figures" not in ended:
            return bool(ended)
        drawn = ended["figures"].get(settings)
        return drawn is not None and not seals.differing(self.path / "figures", drawn)

    def repair(self) -> None:
        """Put aside those of the run's own files that are damaged; the caller writes them again.

        CheckpointError where code that it was trained with is damaged.
        """
        named = self.ended.get("sha256", {})
        for name in sorted(named):
            if not seals.differing(self.path, {name: named[name]}):
                continue
            if name not in REMADE:
                raise CheckpointError(
                    f"run {self.path.name}: {name}, which it was trained with, is damaged or "
                    f"missing; put it back, or delete {self.path} and train again"
                )
            log.warning("%s is damaged or missing: %s", name, REMADE[name])
            if (self.path / name).exists():
                files.set_aside(self.path / name, f"{name}.damaged")

    def check_weights(self, sha256: str) -> None:
        """CheckpointError unless these weights are those that the run ended with, if it has."""
        recorded = self.ended.get("weights_sha256", sha256)
        if recorded != sha256:
            raise CheckpointError(
                f"run {self.path.name} ended with the weights {recorded[:12]}, its checkpoint has "
                f"{sha256[:12]}; delete {self.path} and train again"
            )

    def note(self, facts: Mapping[str, Any]) -> None:
        """Add to provenance.json what has become known since it was written."""
        files.write_json(self.provenance, files.read_json(self.provenance, {}) | dict(facts))

    def finish(self, weights_sha256: str, training: Mapping[str, Any]) -> None:
        """Write done.json. training: how it ended (training/ending.py)."""
        run = records.run(self.path)
        evaluations = [path for path in run.evaluations if not run.faults_of(path)]
        code = [path for kind in CODE for path in (self.path / kind).glob("*.py")]
        own = [self.config, self.provenance, self.metrics, *code]
        about = {
            "run": self.path.name,
            "weights_sha256": weights_sha256,
            "training": training,
            "evaluations": [path.name for path in evaluations],
            "sealed": [path.name for path in evaluations if seals.is_sealed(path)],
            "figures": self.ended.get("figures", {}),
            "sha256": seals.sums(
                self.path,
                sorted(path.relative_to(self.path).as_posix() for path in own if path.is_file()),
            ),
        }
        files.write_sealed(self.done, about)

    def note_figures(self, settings: str, drawn: Iterable[Path]) -> None:
        """Add to done.json that the figures of evaluations with these settings are drawn."""
        sums = seals.sums(self.path / "figures", sorted(path.name for path in drawn))
        ended = self.ended
        ended["figures"] = ended.get("figures", {}) | {settings: sums}
        files.write_sealed(self.done, ended)

    def add_metrics(self, row: Mapping[str, Any]) -> None:
        files.append_jsonl(self.metrics, row)

    def forget_metrics_after(self, step: int) -> None:
        """Drop lines of steps after a killed process's last checkpoint: they are redone."""
        if self.metrics.exists():
            rows = files.read_jsonl(self.metrics)
            files.write_jsonl(self.metrics, [row for row in rows if row.get("step", 0) <= step])

    def metrics_until(self, step: int) -> list[dict]:
        """What was measured up to that step, without the lines of skipped steps."""
        rows = files.read_jsonl(self.metrics)
        return [row for row in rows if row.get("step", step + 1) <= step and "skipped" not in row]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time. LockedError if another holds the run; DiskError.

        What killed writers left behind is removed: with the lock held, nobody is writing it.
        """
        files.make_folder(self.path)
        self.refuse_links()
        lock = FileLock(self.path / ".lock", timeout=0)
        with files.disk_errors(self.path):
            try:
                lock.acquire()
            except Timeout:  # an OSError too
                raise LockedError(
                    f"another process is working on run {self.path.name}; "
                    "wait for it, then rerun the command"
                ) from None
        try:
            for folder in (self.path, *(path for path in self.path.iterdir() if path.is_dir())):
                files.remove_leftovers(folder / "*")
            yield
        finally:
            lock.release()

    def refuse_links(self) -> None:
        """ConfigError for a link that leads out of the folder: what is written would follow it."""
        home = self.path.resolve()
        for path in self.path.iterdir():
            if path.is_symlink() and not path.resolve().is_relative_to(home):
                raise ConfigError(
                    f"run {self.path.name} holds a link that leads out of its folder: {path.name}; "
                    "put there what it leads to, or remove it"
                )

    def logged(self) -> contextlib.AbstractContextManager:
        """What the package logs goes to the run's log.txt as well."""
        with files.disk_errors(self.path / "log.txt"):
            handler = logging.FileHandler(self.path / "log.txt")
        return logged_to(handler, "%(asctime)s %(levelname)s %(message)s")


def find(results: Path, run: str, key: str = "run") -> RunFolder:
    """The run named by its id, a part of it that no other run shares, or its path. ConfigError.

    key: by which it was given.
    """
    if not run.strip():
        raise ConfigError(f"{key}= names no run; `lengthgen list runs` shows all")
    for path in (paths.folder(run, key), results / "runs" / run):
        if (path / "config.yaml").is_file():
            return RunFolder(path)
    existing = sorted(path.parent.name for path in (results / "runs").glob("*/config.yaml"))
    matching = [name for name in existing if run in name]
    if len(matching) == 1:
        return RunFolder(results / "runs" / matching[0])
    if matching:
        names = ", ".join(matching[:4]) + (" ..." if len(matching) > 4 else "")
        raise ConfigError(f"{key}={run} matches {len(matching)} runs; expected one: {names}")
    raise ConfigError(
        f"{key}={run}: no such run in {results / 'runs'}; "
        f"`lengthgen list runs` shows all {len(existing)}"
    )
