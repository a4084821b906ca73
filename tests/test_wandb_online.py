"""Online runs of W&B, against a local stand-in of its server: whole, killed, stopped, refused.

Trainings that are killed are processes of their own; one process imports torch for all of them. No
test reaches a network.
"""

import csv
import functools
import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lengthgen import files, tracking
from lengthgen.errors import Interrupted
from lengthgen.runs import run
from lengthgen.tracking import curves, wandb
from lengthgen.training import loop as training

from .test_config import given
from .test_tracking import history, read_wandb
from .wandb_stand_in import Fault, StandIn

pytest.importorskip("wandb")

REPOSITORY = Path(__file__).parent.parent
PATIENCE = 120.0  # seconds: a limit that only a hang exceeds, on a busy machine too
STEPS = 12
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__])


def wanted(text, folder, **changes):
    """The configuration of a small run that is tracked online."""
    small = {
        "dataset": "files", "dataset__path": str(text), "dataset__validation_fraction": 0.3,
        "results": str(folder / "results"), "cache": str(folder / "cache"), "threads": 1,
        "train_length": 16, "steps": STEPS, "batch_size": 4, "log_every": 1, "validate_every": 4,
        "evaluate_every": 4, "checkpoint_every": 5, "checkpoint_seconds": 0, "model__n_layers": 1,
        "model__n_heads": 2, "model__width": 16, "evaluation__documents": 4,
        "evaluation__blocks": 2, "evaluation__resamples": 50, "evaluation__factors": [1.0, 2.0],
        "tracking": "wandb", "tracking__mode": "online", "tracking__tags": ["mine"],
        "tracking__init_timeout": 2 * PATIENCE, "tracking__finish_timeout": PATIENCE,
    }  # fmt: skip
    return given(**small | changes)


def train(config, environment, at_step, act):
    """In a process of its own: `act` before the n-th step that it computes."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        del os.environ[name]
    os.environ.update(environment)
    trackers, steps = [], []
    start, step = tracking.start, training.forward_backward

    def remembered(*given):
        trackers.append(start(*given))
        return trackers[-1]

    def counted(*given, **options):
        steps.append(1)
        if len(steps) == at_step:
            act(trackers[0])
        return step(*given, **options)

    tracking.start, training.forward_backward = remembered, counted
    try:
        run.train(config, [], figures=False)
    except Interrupted as stopped:
        sys.exit(stopped.exit_code)


def trained(config, server, at_step=0, act=None):
    """The exit code of that process."""
    environment = server.environment() | {"HOME": config["results"]}
    process = PROCESSES.Process(target=train, args=(config, environment, at_step, act))
    process.start()
    process.join(PATIENCE)
    process.kill()  # if it hangs
    process.join()
    return process.exitcode


def killed(tracker):
    os.kill(os.getpid(), signal.SIGKILL)


def killed_when_sent(tracker):
    """W&B's process has been given all that was logged."""
    sent = PROCESSES.Event()
    tracker._calls.put((sent.set, ()))
    sent.wait()
    killed(tracker)


def terminated(tracker):
    os.kill(os.getpid(), signal.SIGTERM)


def released(event, tracker):
    """Lets the server answer; a W&B that does not wait for it has opened the run by then."""
    tracker._opened.wait(3.0)
    event.set()


def folder_of(config):
    [path] = Path(config["results"]).glob("runs/*")
    return path


def measured(config):
    """{step: the numbers of metrics.jsonl that are the same whenever a step is redone}."""
    rows = files.read_jsonl(folder_of(config) / "metrics.jsonl")
    return {row["step"]: same(row) for row in rows}


def same(row):
    left_out = ("step", "train/step", "train/tokens_per_second")
    return {key: value for key, value in row.items() if key not in left_out}


def arrived(run_there):
    """[(step, numbers)] of the training, in the order of the history."""
    return [(row["train/step"], same(row)) for row in run_there.history if "train/step" in row]


@pytest.fixture
def server():
    with StandIn() as stand_in:
        yield stand_in


@pytest.fixture(scope="module")
def twice_killed(text, tmp_path_factory):
    """(config, server, what it held after each of three processes)."""
    folder = tmp_path_factory.mktemp("twice")
    config, then = wanted(text, folder), []
    with StandIn() as stand_in:
        # killed while the server makes W&B wait: nothing of seven steps has been sent
        opened = stand_in.hold("RunResumeStatus")
        then.append(trained(config, stand_in, 8, killed))
        opened.set()
        # killed after step 8, with a checkpoint of step 5
        then.append(trained(config, stand_in, 4, killed_when_sent))
        then.append(trained(config, stand_in))
        yield config, stand_in, then


def the_run(server):
    [there] = server.runs.values()
    return there


def test_a_run_that_was_killed_twice_is_one_run_on_the_server(twice_killed):
    config, server, codes = twice_killed
    assert codes == [-signal.SIGKILL, -signal.SIGKILL, 0]
    there = the_run(server)
    assert there.id == folder_of(config).name
    # each process asked whether it resumes; those that were killed failed, the last did not
    assert server.operations().count("RunResumeStatus") == 3
    assert there.exit_codes == [1, 1, 0]
    assert server.unknown == []


def test_no_step_is_lost_or_logged_twice(twice_killed):
    config, server, _ = twice_killed
    there = the_run(server)
    assert arrived(there) == list(measured(config).items())
    assert [step for step, _ in arrived(there)] == list(range(1, STEPS + 1))
    during = [step for step, row in arrived(there) if "lengths/loss@000032" in row]
    assert during == [4, 8, 12]
    assert there.steps == list(range(len(there.history)))
    assert there.overwritten == []


def test_curves_summary_and_files_arrive_once(twice_killed):
    config, server, _ = twice_killed
    there = the_run(server)
    [evaluation] = folder_of(config).glob("evaluation/*")
    with open(evaluation / "lengths.csv") as lines:
        rows = curves.plain(list(csv.DictReader(lines)))
    logged = [row for row in there.history if "eval/length" in row]
    expected = curves.points(rows)  # in the file with ten digits
    assert [row["eval/length"] for row in logged] == [16, 32]
    assert logged == [pytest.approx(point, rel=1e-8) for point in expected]
    scalars = curves.scalars(rows) | measured(config)[STEPS] | {"train/step": STEPS}
    assert {name: there.summary.get(name) for name in scalars} == pytest.approx(scalars, rel=1e-8)
    tables = [name for name in there.files if name.startswith("media/table/eval/lengths_")]
    assert len(tables) == 1 and len(json.loads(there.files[tables[0]])["data"]) == len(rows)


def test_what_the_server_knows_of_the_run(twice_killed):
    config, server, _ = twice_killed
    there = the_run(server)
    kept = {key: each["value"] for key, each in there.config.items() if key != "_wandb"}
    assert kept["steps"] == STEPS and kept["scheme"]["name"] == "t5_bias"
    label = config["dataset"]["label"] or Path(config["dataset"]["path"]).name
    assert (there.project, there.job_type) == ("lengthgen", "train")
    assert there.group.startswith(f"t5_bias-{label}-tiny-L16-")
    provenance = files.read_json(folder_of(config) / "provenance.json")
    assert there.summary["data/fingerprint"] == provenance["data"]["fingerprint"]
    assert there.summary["parameters/total"] == provenance["parameters"]["total"]
    assert there.display_name == f"t5_bias-{label}-s0"
    assert there.tags == ["t5_bias", label, "tiny", "mine"]


def test_the_tables_of_the_lengths_are_artefacts(twice_killed):
    _, server, _ = twice_killed
    [table] = [each for each in server.artifacts.values() if "evallengths" in each.name]
    assert (table.type, table.state, table.run) == ("run_table", "COMMITTED", the_run(server).id)
    assert list(table.files) == list(table.manifest["contents"]) == ["eval/lengths.table.json"]


def test_a_stopped_run_goes_on_as_the_same_run(text, tmp_path, server):
    config = wanted(text, tmp_path)
    assert trained(config, server, 4, terminated) == 128 + signal.SIGTERM
    there = the_run(server)
    assert there.exit_codes == [1] and [step for step, _ in arrived(there)] == [1, 2, 3, 4]
    assert trained(config, server) == 0
    assert the_run(server).exit_codes == [1, 0]
    assert arrived(there) == list(measured(config).items())


@pytest.mark.slow
def test_a_run_that_goes_on_waits_for_the_upload_of_the_killed_one(text, tmp_path, server):
    config = wanted(text, tmp_path)
    answers = server.hold("file_stream", PROCESSES.Event())
    assert trained(config, server, 8, killed_when_sent) == -signal.SIGKILL
    assert trained(config, server, 2, functools.partial(released, answers)) == 0
    there = the_run(server)
    assert there.exit_codes == [1, 0] and there.overwritten == []
    assert arrived(there) == list(measured(config).items())


@pytest.fixture
def here(server, monkeypatch, tmp_path, caplog):
    """The server, for trainings in this process."""
    caplog.set_level(logging.INFO, logger="lengthgen")
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name, value in (server.environment() | {"HOME": str(tmp_path / "home")}).items():
        monkeypatch.setenv(name, value)
    return server


def limits_of_wandb(monkeypatch, **given):
    """W&B's own limits, in seconds: `init_timeout` of its first start, `finish_timeout`."""
    settings, starts = wandb.Wandb._settings, []

    def patched(self, limit):
        starts.append(limit)
        first = {} if len(starts) == 1 else {"init_timeout": PATIENCE}
        return settings(self, limit) | given | first

    monkeypatch.setattr(wandb.Wandb, "_settings", patched)


def told(caplog, level=logging.WARNING):
    records = [each for each in caplog.records if each.name == "lengthgen.tracking"]
    return [each.getMessage() for each in records if each.levelno >= level]


def local(config, kind):
    """The steps in W&B's file of the only session of that kind: "run" or "offline-run"."""
    [path] = folder_of(config).glob(f"wandb/{kind}-*/*.wandb")
    return [
        (row["train/step"], same(row)) for row in history(read_wandb(path)) if "train/step" in row
    ]


@pytest.mark.parametrize(
    "fault",
    [Fault(status=500), Fault(hang_up=True), Fault(seconds=60.0)],
    ids=["500", "hangs up", "slow"],
)
def test_a_server_that_cannot_be_used_harms_no_run(
    text, tmp_path, here, monkeypatch, caplog, fault
):
    here.fault = lambda request: fault
    limits_of_wandb(monkeypatch, init_timeout=1.0)
    config = wanted(text, tmp_path)
    assert run.train(config, [], figures=False).status == "trained"
    [warning] = told(caplog)
    assert warning.startswith("W&B cannot be reached, this run is recorded offline")
    assert local(config, "offline-run") == list(measured(config).items())


def test_a_server_that_goes_down_harms_no_run(text, tmp_path, here, caplog):
    down = Fault(status=503)
    here.fault = lambda request: down if "UpsertBucket" in here.operations() else None
    config = wanted(text, tmp_path, tracking__finish_timeout=3.0)
    assert run.train(config, [], figures=False).status == "trained"
    [warning] = told(caplog)
    assert "W&B is off for this run: no answer in 3 s at the end of the run" in warning
    assert files.read_json(folder_of(config) / "done.json") and arrived(the_run(here)) == []
    assert run.train(config, []).status == "drawn" and len(told(caplog)) == 1


def test_an_upload_that_does_not_end_is_said(tmp_path, here, monkeypatch, caplog):
    limits_of_wandb(monkeypatch, finish_timeout=1.0)
    options = {"name": "wandb", "mode": "online", "finish_timeout": PATIENCE}
    about = tracking.RunDescription("id", "name", "group", "train", (), {}, tmp_path / "run")
    tracker = tracking.start(options, about)
    assert tracker._opened.wait(PATIENCE)
    here.fault = lambda request: Fault(status=500)
    tracker.log({"train/loss": 2.0}, 1)
    tracker.finish()
    [warning] = told(caplog)
    assert "Timed out finishing run" in warning


@pytest.mark.slow
def test_what_fails_once_arrives_all_the_same(text, tmp_path, here, caplog):
    failed = set()

    def first_of_each(request):
        new = request.operation not in failed
        failed.add(request.operation)
        if not new:
            return None
        return Fault(status=500) if len(failed) % 2 else Fault(hang_up=True)

    here.fault = first_of_each
    config = wanted(text, tmp_path)
    run.train(config, [], figures=False)
    assert told(caplog) == [] and {"UpsertBucket", "file_stream", "upload"} <= failed
    assert arrived(the_run(here)) == list(measured(config).items())
    assert the_run(here).exit_codes[-1] == 0


def synced(server, command, folder):
    environment = dict(os.environ) | server.environment()
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    how = {"shell": True, "cwd": folder, "capture_output": True, "text": True, "timeout": PATIENCE}
    done = subprocess.run(command, env=environment, **how)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_an_offline_run_is_uploaded_by_the_line_that_it_prints(text, tmp_path, here, caplog):
    config = wanted(text, tmp_path, tracking__mode="offline")
    run.train(config, [], figures=False)
    assert here.requests == []
    [line] = told(caplog, logging.INFO)
    synced(here, line.partition("offline: ")[2], tmp_path)
    there = the_run(here)
    assert (there.id, there.exit_codes) == (folder_of(config).name, [0])
    assert arrived(there) == list(measured(config).items())
    assert [row["eval/length"] for row in there.history if "eval/length" in row] == [16, 32]
    assert there.summary["train/step"] == STEPS and "eval/matched/loss@000032" in there.summary


def test_an_offline_run_that_was_killed_is_uploaded_as_one(text, tmp_path, here):
    config = wanted(text, tmp_path, tracking__mode="offline")
    assert trained(config, here, 8, killed_when_sent) == -signal.SIGKILL
    assert trained(config, here) == 0
    assert here.requests == []
    command = "wandb sync results/runs/*/wandb"
    assert f"`{command}`" in (REPOSITORY / "README.md").read_text()
    synced(here, command, tmp_path)
    there = the_run(here)
    assert there.exit_codes == [1, 0] and there.overwritten == []
    assert arrived(there) == list(measured(config).items())
    assert there.steps == list(range(len(there.history)))
    requests = len(here.requests)
    assert "No runs to sync" in synced(here, command, tmp_path)
    assert len(here.requests) == requests


def test_tables_and_weights_are_artefacts_and_what_used_them_is_known(text, tmp_path, here):
    config = wanted(text, tmp_path, tracking__artifacts="weights")
    outcome = run.train(config, [], figures=False)
    again = config | {"run": outcome.run_id, "retrofit": {"name": "hard_window", "window": 8}}
    run.evaluate(again, [])
    made = {each.type: each for each in here.artifacts.values() if each.type != "run_table"}
    # `made` has the last evaluation, of the retrofit: a run of its own
    weights, tables = made["weights"], made["evaluation"]
    assert (weights.run, weights.state, tables.state) == (outcome.run_id, "COMMITTED", "COMMITTED")
    assert tables.run.startswith(f"{outcome.run_id}-hard_window-")
    assert tables.run in weights.used_by
    [checkpoint] = outcome.folder.glob(f"checkpoints/step-*{STEPS}")
    assert weights.files == {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    assert {"lengths.csv", "losses.npz"} <= set(tables.files) == set(tables.manifest["contents"])
    assert here.runs[tables.run].job_type == "evaluate" and here.unknown == []


ARTEFACT = """
import sys, wandb
settings = wandb.Settings(silent=True, console="off", disable_git=True)
with wandb.init(project="p", id="training", settings=settings) as run:
    weights = wandb.Artifact("weights", type="model", metadata={"step": 12})
    weights.add_file(sys.argv[1], name="model.safetensors")
    run.log_artifact(weights, aliases=["step-12"])
with wandb.init(project="p", id="evaluation", job_type="evaluate", settings=settings) as run:
    run.use_artifact("weights:step-12")
"""


def test_the_stand_in_knows_who_made_an_artefact_and_who_used_it(tmp_path, here):
    """Of wandb alone: what a run logs as artefacts can be tested against it."""
    (tmp_path / "weights").write_bytes(b"0123")
    command = [sys.executable, "-c", ARTEFACT, "weights"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0 and here.unknown == [], done.stderr
    [made] = here.artifacts.values()
    assert (made.name, made.type, made.state) == ("weights", "model", "COMMITTED")
    assert (made.run, made.used_by) == ("training", ["evaluation"])
    assert (sorted(made.aliases), made.metadata) == (["latest", "step-12"], {"step": 12})
    assert made.files == {"model.safetensors": b"0123"}
    assert list(made.manifest["contents"]) == ["model.safetensors"]
    assert here.runs["evaluation"].job_type == "evaluate"


def test_a_link_among_the_files_of_wandb_is_not_written_through(tmp_path, here, caplog):
    (tmp_path / "run" / "wandb").mkdir(parents=True)
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "run" / "wandb" / "lock").symlink_to(tmp_path / "mine")
    about = tracking.RunDescription("id", "name", "group", "train", (), {}, tmp_path / "run")
    limits = {"init_timeout": PATIENCE, "finish_timeout": PATIENCE}
    with tracking.start({"name": "wandb", "mode": "offline"} | limits, about) as tracker:
        tracker.log({"train/loss": 2.0}, 1)
    [warning] = told(caplog)
    assert "W&B is off for this run" in warning and (tmp_path / "mine").read_text() == "mine"
