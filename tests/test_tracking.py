"""Tracking: what reaches the files of W&B and TensorBoard, and that neither can change a run.

No test can reach a network: W&B is offline or pointed at a closed local port, and proxies are dead.
"""

import base64
import importlib.util
import io
import json
import logging
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy
import pytest
import torch
from omegaconf import OmegaConf

from lengthgen import tracking
from lengthgen.config.redaction import REDACTED, redact, redact_text
from lengthgen.errors import ConfigError
from lengthgen.tracking import curves, wandb, wandb_process
from lengthgen.tracking.seam import WAITING_CALLS, Backend

CONFIGS = Path(__file__).parent.parent / "configs" / "tracking"
DUMMY_KEY = "0123456789abcdef0123456789abcdef01234567"
PATIENCE = 120.0  # seconds: a limit that only a hang exceeds, on a busy machine too
WANDB = {"name": "wandb", "init_timeout": PATIENCE, "finish_timeout": PATIENCE}
needs_proc = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="looks for the W&B service in /proc"
)


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path, caplog):
    """No network, no account, no traces in the real home."""
    caplog.set_level(logging.INFO, logger="lengthgen.tracking")
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name in ("WANDB_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for limit in ("opening_limit", "closing_limit"):
        monkeypatch.setattr(Backend, limit, PATIENCE)


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """A module `wandb` that notes its calls and fails in one of them: fake("log:2:raise")."""
    module = tmp_path / "modules" / "wandb" / "__init__.py"
    module.parent.mkdir(parents=True)
    module.write_text(FAKE)
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    notes = tmp_path / "calls"
    monkeypatch.setenv("FAKE_NOTES", str(notes))

    def plan(fault: str = "::") -> Path:
        monkeypatch.setenv("FAKE_FAULT", fault)
        notes.write_text("")
        return notes

    plan.module = module
    return plan


FAKE = """
import os, sys, time
from types import SimpleNamespace
counts, parent = {}, os.getppid()

def note(name, result=None):
    with open(os.environ["FAKE_NOTES"], "a") as notes:
        notes.write(name + "\\n")
    counts[name] = counts.get(name, 0) + 1
    where, index, action = os.environ["FAKE_FAULT"].split(":")
    if name == where and str(counts[name]) == index:
        while action == "hang" and os.getppid() == parent:
            time.sleep(0.05)
        if action == "exit":
            sys.exit(3)
        if action == "raise":
            raise ConnectionResetError("the service is gone\\nsecond line")
    return result

def call(name, result=None):
    return lambda *_, **__: note(name, result)

Settings, Table, Image = call("Settings"), call("Table"), call("Image")
plot = SimpleNamespace(line_series=call("line_series"))

def Artifact(name, **_):
    return note("Artifact", SimpleNamespace(add_file=call("add_file")))

def init(**_):
    assert sys.stdin.read() == "" and not sys.stdin.isatty()
    print("noise", file=sys.stdout), print("noise", file=sys.stderr)
    summary = SimpleNamespace(update=call("summary.update"))
    names = "log", "define_metric", "finish", "log_artifact"
    run = SimpleNamespace(url=None, dir="files", summary=summary, offline=True)
    vars(run).update({name: call(name) for name in names})
    return note("init", run)
"""


# One grey pixel.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)


def describe(folder, **changes):
    fields = {
        "id": "0123abcd",
        "name": "t5_bias-python-s0",
        "group": "first",
        "job_type": "train",
        "tags": ("t5_bias", "python"),
    }
    fields |= {
        "config": {"scheme": {"name": "t5_bias", "num_buckets": 32}, "seed": 0},
        "folder": folder,
    } | changes
    return tracking.RunDescription(**fields)


def lengths() -> list[dict]:
    """Rows as csv.DictReader gives them (all text), one of them a refused length."""
    same = {
        "run": "0123abcd",
        "scheme": "t5_bias",
        "seed": "0",
        "low": "0.5",
        "high": "3",
        "status": "ok",
        "reason": "",
        "word": "",
    }
    rows = [
        same | {"eval_length": str(n), "protocol": p, "metric": m, "value": str(n / 512)}
        for n in (1024, 256, 512)
        for p in ("matched", "nonoverlapping")
        for m in ("loss", "perplexity")
    ]
    refused = {
        "eval_length": "2048",
        "value": "",
        "low": "",
        "high": "",
        "status": "refused",
        "reason": "trained to 512",
    }
    rows[0]["word"] = "fails"
    return [*rows, rows[0] | refused]


def warnings_in(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def use(tracker, steps: int = 3, exit_code: int = 0) -> None:
    for step in range(steps):
        tracker.log({"train/loss": 5.0 - step, "train/tokens_per_second": 1e4}, step * 10)
    tracker.summary({"commit": "c0ffee", "parameters/total": 820608})
    tracker.curves(lengths())
    folder = tracker._backend.description.folder
    if tracker.listens and folder.is_dir():
        (folder / "curve.png").write_bytes(PNG)
        tracker.figures({"curve": folder / "curve.png"})
        (folder / "lengths.csv").write_text("loss\n1.0\n")
        files = {"lengths.csv": folder / "lengths.csv"}
        tables = tracking.Artifact("evaluation-a+b", "evaluation", files, {"run": "a+b"}, ("w",))
        tracker.artifact(tables)
    tracker.finish(exit_code)


def read_wandb(path: Path) -> list:
    """The records of a .wandb file: a LevelDB log (32 KiB blocks, 7-byte chunk heads)."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, position, parts, records = path.read_bytes(), 7, b"", []
    assert data[:4] == b":W&B"
    while position + 7 <= len(data):
        if (room := 32768 - position % 32768) < 7:
            position += room
            continue
        _, size, kind = struct.unpack("<IHB", data[position : position + 7])
        if position + 7 + size > len(data):
            break  # it is being written
        parts += data[position + 7 : position + 7 + size]
        position += 7 + size
        if kind in (1, 4):  # a whole record, or its last part
            records.append(Record.FromString(parts))
            parts = b""
    return records


def wandb_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("wandb/*run-*/*.wandb"))


def history(records: list) -> list[dict]:
    logged = [record.history.item for record in records if record.HasField("history")]
    rows = [
        {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}
        for items in logged
    ]
    return [{key: value for key, value in row.items() if not key.startswith("_")} for row in rows]


def until(condition):
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
    return found


def at_once(call, *arguments) -> None:
    """Make a call that must not wait for anything that never comes."""
    thread = threading.Thread(target=call, args=arguments, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), "it waits"


def service_of(tracker) -> int:
    """The pid of the wandb-core that this tracker's own child started."""
    child = until(lambda: tracker._backend._process).pid

    def grandchild():
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
            except OSError:
                continue
            if rest.split()[1] == str(child) and name.startswith("wandb-core"):
                return int(stat.parent.name)
        return None

    return until(grandchild)


def test_offline_run_read_back(tmp_path, caplog, capfd):
    tracker = tracking.start(
        OmegaConf.merge(OmegaConf.load(CONFIGS / "wandb.yaml"), WANDB, {"tags": ["mine"]}),
        describe(tmp_path),
    )
    use(tracker, exit_code=130)
    assert warnings_in(caplog) == [] and len(caplog.records) == 1 and "wandb sync" in caplog.text
    assert capfd.readouterr() == ("", "")
    [path] = wandb_files(tmp_path)
    records = read_wandb(path)
    [run] = [record.run for record in records if record.HasField("run")]
    assert (run.run_id, run.display_name, run.run_group, run.job_type) == (
        "0123abcd",
        "t5_bias-python-s0",
        "first",
        "train",
    )
    assert (list(run.tags), run.project, run.resume) == (
        ["t5_bias", "python", "mine"],
        "lengthgen",
        True,
    )
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config["scheme"] == {"name": "t5_bias", "num_buckets": 32} and config["seed"] == 0
    logged = history(records)
    assert logged[:3] == [
        {"train/loss": 5.0 - step, "train/tokens_per_second": 1e4, "train/step": step * 10}
        for step in range(3)
    ]
    curve = [
        (row["eval/length"], row["eval/matched/loss"]) for row in logged if "eval/length" in row
    ]
    assert curve == [(256, 0.5), (512, 1.0), (1024, 2.0)]
    axes = {
        record.metric.glob_name or record.metric.name: record.metric.step_metric
        for record in records
        if record.HasField("metric")
    }
    assert axes["train/*"] == "train/step" and axes["eval/matched/loss"] == "eval/length"
    summary = {
        item.key: json.loads(item.value_json)
        for record in records
        for item in record.summary.update
        if item.key
    }
    scalars = [name for name in summary if name.startswith("eval/matched/loss@")]
    assert (
        sorted(scalars) == [f"eval/matched/loss@{n:06d}" for n in (256, 512, 1024)]
        and summary["eval/matched/loss@001024"] == 2.0
    )
    [table] = path.parent.glob("files/media/table/eval/lengths_*.json")
    table = json.loads(table.read_text())
    assert table["columns"] == list(lengths()[0]) and len(table["data"]) == len(lengths())
    refused = dict(zip(table["columns"], table["data"][-1], strict=True))
    assert (refused["value"], refused["status"], refused["reason"], refused["eval_length"]) == (
        None,
        "refused",
        "trained to 512",
        2048,
    )
    assert len(list(path.parent.glob("files/media/table/eval/*_by_length_table_*.json"))) == 2
    assert (summary["commit"], summary["parameters/total"]) == ("c0ffee", 820608)
    assert summary["eval/matched/word@001024"] == "fails"
    [image] = path.parent.glob("files/media/images/figures/curve_*.png")
    assert image.read_bytes() == PNG
    kept = [record.artifact for record in records if record.HasField("artifact")]
    [artifact] = [one for one in kept if one.type == "evaluation"]  # tables are some too
    assert artifact.name == "evaluation-a_b"
    assert [entry.path for entry in artifact.manifest.contents] == ["lengths.csv"]
    assert json.loads(artifact.metadata) == {"run": "a+b"}
    # no file elsewhere, nor in the home folder
    assert {entry.name for entry in tmp_path.iterdir()} == {"wandb", "curve.png", "lengths.csv"}
    [end] = [record.exit for record in records if record.HasField("exit")]
    assert end.exit_code == 130


def test_jobs_of_one_process_have_their_own_runs(tmp_path):
    hooks = (sys.exit, sys.excepthook, list(sys.meta_path), dict(os.environ))
    for job in ("a", "b"):
        with tracking.start(WANDB, describe(tmp_path / job, id=f"run-{job}")) as tracker:
            tracker.log({"train/loss": float(ord(job))}, 1)
    assert (sys.exit, sys.excepthook, list(sys.meta_path), dict(os.environ)) == hooks
    for job in ("a", "b"):
        [path] = wandb_files(tmp_path / job)
        records = read_wandb(path)
        assert [record.run.run_id for record in records if record.HasField("run")] == [f"run-{job}"]
        assert history(records) == [{"train/loss": float(ord(job)), "train/step": 1}]


def test_every_call_of_wandb_may_fail(fake, tmp_path, caplog, capfd):
    notes = fake()
    use(tracking.start(WANDB, describe(tmp_path)))
    calls = notes.read_text().split()
    assert warnings_in(caplog) == [] and {
        "init",
        "log",
        "finish",
        "Table",
        "line_series",
        "summary.update",
        "Image",
        "Artifact",
        "add_file",
        "log_artifact",
    } <= set(calls)
    for number, name in enumerate(calls):
        for action in ("raise", "exit") if name in ("init", "log", "finish") else ("raise",):
            fake(f"{name}:{calls[: number + 1].count(name)}:{action}")
            caplog.clear()
            folder = tmp_path / f"{number}-{action}"  # a run's steps are logged once
            folder.mkdir()
            use(tracking.start(WANDB, describe(folder)))
            [warning] = warnings_in(caplog)
            assert "W&B is off" in warning and (
                "the service is gone (" in warning or "SystemExit: 3" in warning
            ), (name, warning)
    assert capfd.readouterr() == ("", "")


CHILD = """
import os, select, sys, time
from pathlib import Path
folder = Path(sys.argv[1])

def wait_for(name):
    while not (folder / name).exists():
        time.sleep(0.002)

def say_why():
    os.write(1, b'{"failed": "the reason"}\\n')

def hang_up():
    os.close(0)
    (folder / "deaf").touch()

"""


@pytest.fixture
def stepwise(tmp_path):
    """stepwise(script): `script` as the child, which can act exactly between two steps of `_send`.

    "checked": no message of the child has been seen; the child then makes "deaf", and only then
    is anything sent to it.
    "asked": the sending has failed, and it waits for the child's last words.
    """

    class Stepwise(wandb.Wandb):
        def _check(self):
            super()._check()
            (tmp_path / "checked").touch()
            until(lambda: (tmp_path / "deaf").exists())

        def _reply(self, until):
            if until is not None:
                (tmp_path / "asked").touch()
            return super()._reply(until)

    backends = []

    def start(script: str) -> wandb.Wandb:
        backend = Stepwise(wandb.WandbConfig(), describe(tmp_path))
        command = [sys.executable, "-c", CHILD + script, str(tmp_path)]
        backend._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        backends.append(backend)
        return backend

    yield start
    for backend in backends:
        backend.abandon(grace=0.0)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("wait_for('checked'); say_why(); hang_up()", "the reason"),
        ("wait_for('checked'); hang_up(); wait_for('asked'); say_why()", "the reason"),
        ("wait_for('checked'); hang_up(); wait_for('asked'); os._exit(3)", "exit code 3"),
        ("wait_for('checked'); hang_up(); wait_for('asked'); os.kill(os.getpid(), 9)", "signal 9"),
    ],
)
def test_the_reason_is_known_whenever_the_child_hangs_up(stepwise, script, told):
    with pytest.raises(RuntimeError, match=told):
        stepwise(script).log({"train/loss": 1.0}, 1)


def test_the_reason_is_known_when_the_child_ends_in_the_middle_of_a_message(stepwise):
    backend = stepwise("(folder / 'deaf').touch(); select.select([0], [], []); say_why()")
    with pytest.raises(RuntimeError, match="the reason"):
        backend.log({"x" * 2**20: 1.0}, 1)  # more than a pipe holds: the child reads nothing of it


def test_a_child_that_hangs_up_and_says_nothing_is_a_broken_pipe(stepwise, monkeypatch):
    monkeypatch.setattr(wandb, "LAST_WORDS", 0.0)
    with pytest.raises(BrokenPipeError):
        stepwise("hang_up(); wait_for('ever')").log({"train/loss": 1.0}, 1)


def test_a_child_that_has_hung_up_gets_the_time_to_save(stepwise, tmp_path):
    backend = stepwise("hang_up(); say_why(); wait_for('waited for'); (folder / 'saved').touch()")
    with pytest.raises(RuntimeError, match="the reason"):
        backend.log({"train/loss": 1.0}, 1)
    process, wait = backend._process, backend._process.wait
    process.wait = lambda *limit: (tmp_path / "waited for").touch() or wait(*limit)
    backend.abandon(grace=PATIENCE)
    assert (tmp_path / "saved").exists() and process.returncode == 0


@pytest.mark.parametrize(("fault", "code"), [("::", 0), ("log:1:raise", 1), ("init:1:raise", 1)])
def test_a_child_whose_training_is_gone_closes_its_run(fake, tmp_path, fault, code):
    notes = fake(fault)
    opening = {"init": {"dir": str(tmp_path), "id": "x"}, "settings": {}, "parent": 1}
    lines = [json.dumps(opening), json.dumps({"log": {"train/loss": 1}}), ""]
    (tmp_path / "requests").write_text("\n".join(lines))
    reading, writing = os.pipe()
    os.close(reading)
    with open(tmp_path / "requests") as requests, os.fdopen(writing, "wb") as nobody:
        command = [sys.executable, "-P", wandb_process.__file__]
        environment = wandb._environment(tmp_path)
        assert (
            subprocess.run(
                command, stdin=requests, stdout=nobody, env=environment, timeout=PATIENCE
            ).returncode
            == code
        )
    assert ("finish" in notes.read_text().split()) == (fault != "init:1:raise")


def test_hanging_wandb_delays_nothing(fake, tmp_path, caplog):
    fake("log:1:hang")
    tracker = tracking.start(WANDB | {"finish_timeout": 0.5}, describe(tmp_path))

    def log():
        for step in range(
            WAITING_CALLS + 3000
        ):  # more than the queue, the pipe and the child's buffer hold
            tracker.log({"train/loss": 1.0}, step)

    at_once(log)
    assert tracker._opened.wait(PATIENCE)
    at_once(log)  # the pipe has filled in between, or does now
    at_once(tracker.finish)
    told = warnings_in(caplog)
    gave_up, dropped = told
    assert "no answer in 0.5 s" in gave_up and "log calls dropped" in dropped
    at_once(tracker.finish)
    assert warnings_in(caplog) == told
    until(lambda: not tracker._thread.is_alive())


def test_wandb_not_installed(monkeypatch, tmp_path, caplog):
    monkeypatch.setitem(sys.modules, "wandb", None)
    use(tracking.start(WANDB, describe(tmp_path)))
    [warning] = warnings_in(caplog)
    assert "wandb is not installed" in warning and list(tmp_path.iterdir()) == []


def train(tracker, at_step_10=lambda: None) -> bytes:
    """Twenty steps of a small model: its weights and the state of every global generator."""
    random.seed(0), numpy.random.seed(0), torch.manual_seed(0)
    model = torch.nn.Linear(8, 8)
    for step in range(20):
        if step == 10:
            at_step_10()
        loss = model(torch.randn(4, 8)).square().mean() * (
            1 + random.random() + numpy.random.rand()
        )
        loss.backward()
        with torch.no_grad():
            for weight in model.parameters():
                weight -= 0.1 * weight.grad
        tracker.log({"train/loss": loss.item()}, step)
    tracker.curves(lengths())
    tracker.finish()
    states = (random.getstate(), str(numpy.random.get_state()), torch.get_rng_state().tolist())
    return str((states, [weight.tolist() for weight in model.parameters()])).encode()


@needs_proc
def test_service_killed_in_mid_run_changes_no_weight(tmp_path, caplog):
    expected = train(tracking.start({"name": "none"}, describe(tmp_path / "none")))
    tracker = tracking.start(WANDB, describe(tmp_path / "wandb"))

    def kill():
        service = service_of(tracker)
        assert tracker._opened.wait(PATIENCE)
        os.kill(service, signal.SIGKILL)

    assert train(tracker, kill) == expected
    [warning] = warnings_in(caplog)
    assert "W&B is off for this run" in warning and "\n" not in warning
    assert train(tracking.start(WANDB, describe(tmp_path / "next"))) == expected
    assert len(warnings_in(caplog)) == 1 and len(wandb_files(tmp_path / "next")) == 1
    assert train(tracking.start({"name": "tensorboard"}, describe(tmp_path / "events"))) == expected


@needs_proc
def test_hanging_service_is_given_up(tmp_path, caplog, monkeypatch):
    settings = wandb.Wandb._settings
    monkeypatch.setattr(
        wandb.Wandb,
        "_settings",
        lambda self, limit: settings(self, limit) | {"finish_timeout": PATIENCE},
    )  # W&B's own
    tracker = tracking.start(WANDB | {"finish_timeout": 0.5}, describe(tmp_path))
    service = service_of(tracker)
    assert tracker._opened.wait(PATIENCE)
    os.kill(service, signal.SIGSTOP)
    try:
        at_once(use, tracker)
        assert "no answer in 0.5 s" in warnings_in(caplog)[0]
    finally:
        os.kill(service, signal.SIGKILL)


def test_killed_training_leaves_a_complete_failed_run(tmp_path):
    script = f"""
import os, signal, threading
from pathlib import Path
from lengthgen import tracking
about = tracking.RunDescription("killed", "n", "g", "train", (), {{}}, Path({str(tmp_path)!r}))
tracker = tracking.start({WANDB!r}, about)
tracker.log({{"train/loss": 2.0}}, 7)
sent = threading.Event()
tracker._calls.put((sent.set, ()))  # behind the log call, and handled when that is in the pipe
sent.wait()
os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    assert (
        subprocess.run(
            [sys.executable, "-c", script], env=environment, timeout=2 * PATIENCE
        ).returncode
        == -signal.SIGKILL
    )
    [path] = until(lambda: wandb_files(tmp_path))
    records = until(
        lambda: [record for record in [read_wandb(path)] if record and record[-1].HasField("exit")]
    )[0]
    assert records[-1].exit.exit_code == 1 and history(records) == [
        {"train/loss": 2.0, "train/step": 7}
    ]


@pytest.mark.parametrize(("key", "reason"), [(None, "No API key configured"), (DUMMY_KEY, "")])
def test_unreachable_server_falls_back_to_offline(tmp_path, caplog, monkeypatch, key, reason):
    if key:
        monkeypatch.setenv("WANDB_API_KEY", key)
    settings, limits = (
        wandb.Wandb._settings,
        iter((1.0, PATIENCE)),
    )  # of W&B's own attempts: online, then offline
    monkeypatch.setattr(
        wandb.Wandb,
        "_settings",
        lambda self, limit: settings(self, limit) | {"init_timeout": next(limits)},
    )
    use(tracking.start(WANDB | {"mode": "online"}, describe(tmp_path)))
    [warning] = warnings_in(caplog)
    assert "recorded offline" in warning and reason in warning
    [path] = wandb_files(tmp_path)
    assert path.parent.name.startswith("offline-run-") and len(history(read_wandb(path))) >= 3


@pytest.mark.parametrize("name", ["wandb", "tensorboard"])
def test_no_secret_in_any_file(name, tmp_path, monkeypatch, caplog):
    canaries = [f"canary{number}XyZ" for number in range(9)]
    monkeypatch.setenv("HF_TOKEN", canaries[0])
    monkeypatch.setenv("WANDB_API_KEY", DUMMY_KEY)
    monkeypatch.setattr(sys, "argv", ["lengthgen", "train", f"data.password={canaries[1]}"])
    config = {
        "from_environment": canaries[0],
        "api_key": canaries[2],
        "url": f"https://user:{canaries[3]}@example.org/data?access_token={canaries[4]}",
        "headers": {"Authorization": f"Bearer {canaries[5]}"},
        "credentials": {"nested": [{"user": canaries[6]}]},
        "command": ["lengthgen", "train", f"data.password={canaries[7]}"],
        "hub_token": canaries[8],
    }
    tags = (f"at-{canaries[0]}",)
    start = {"wandb": WANDB, "tensorboard": {"name": "tensorboard"}}[name]
    use(
        tracking.start(
            start,
            describe(
                tmp_path / "run", config=config, tags=tags, name=canaries[0], group=canaries[0]
            ),
        )
    )
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 0 and warnings_in(caplog) == []
    for path in written:
        found = [
            canary for canary in (*canaries, DUMMY_KEY) if canary.encode() in path.read_bytes()
        ]
        assert not found, (path, found)


def test_redaction_spares_what_is_no_secret():
    config = {
        "num_tokens": 5,
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "tokens": ["a"],
        "token_dim": 3,
        "tokenizer": "bytes",
        "secret_layers": 3,
        "key_dim": 64,
        "text_key": "text",
        "sort_key": "name",
        "keys": ["q"],
        "lr": 1e-3,
        "none": None,
        "flag": True,
        "author": "x",
        "run": "0123abcd",
        "url": "https://example.org/a@b",
        "command": ["scheme.num_buckets=32", "seed=0,1"],
    }
    environment = {"TOKENIZERS_PARALLELISM": "false", "SORT_KEY": "name", "MONKEY": "python"}
    assert redact(config, environment) == config
    secret = {
        "password": 123456,
        "clientSecret": "x",
        "token": "x",
        "wandb": {"api_key": "x"},
        "secrets": {"a": ["x", {"b": 4}]},
    }
    found = redact(secret, {})
    assert (
        found["password"]
        == found["clientSecret"]
        == found["token"]
        == found["wandb"]["api_key"]
        == REDACTED
    )
    assert found["secrets"] == {"a": [REDACTED, {"b": REDACTED}]}
    assert redact_text("a hunter2! b", {"DB_PASSWORD": "hunter2"}) == "a ***! b"
    assert redact_text("with hf_abcdefghijklmnopqrst inside", {}) == "with *** inside"


def test_tensorboard_read_back(tmp_path, caplog):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    use(
        tracking.start(OmegaConf.load(CONFIGS / "tensorboard.yaml"), describe(tmp_path)),
        exit_code=143,
    )
    assert warnings_in(caplog) == []
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [
        (0, 5.0),
        (10, 4.0),
        (20, 3.0),
    ]
    assert [(event.step, event.value) for event in events.Scalars("eval/matched/loss")] == [
        (256, 0.5),
        (512, 1.0),
        (1024, 2.0),
    ]
    text = {
        tag: events.Tensors(tag)[0].tensor_proto.string_val[0].decode()
        for tag in events.Tags()["tensors"]
    }
    assert (
        "scheme.num_buckets|32" in text["config/text_summary"]
        and "trained to 512" in text["eval/lengths/text_summary"]
    )
    assert "c0ffee" in text["facts/text_summary"]
    assert events.Images("figures/curve")[0].encoded_image_string == PNG
    metadata = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"scheme.num_buckets" in metadata
    assert "143" in text["status/text_summary"] and "0123abcd" in text["run/text_summary"]


def test_tensorboard_not_installed_or_failing(monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    use(tracking.start({"name": "tensorboard"}, describe(tmp_path / "file")))
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    use(tracking.start({"name": "tensorboard"}, describe(tmp_path / "absent")))
    failed, missing = warnings_in(caplog)
    assert "TensorBoard is off for this run" in failed and "tensorboard is not installed" in missing


def test_configurations():
    for name, backend in tracking.BACKENDS.items():
        fields = OmegaConf.to_container(OmegaConf.load(CONFIGS / f"{name}.yaml"), resolve=True)
        assert (
            list(fields) == list(backend.Config.__dataclass_fields__)
            and backend.Config(**fields) == backend.Config()
        )
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == set(tracking.BACKENDS)
    assert "WANDB_MODE,offline" in (CONFIGS / "wandb.yaml").read_text()


@pytest.mark.parametrize(
    ("config", "part"),
    [
        ({"name": "wandb", "mode": "ofline"}, "expected one of online, offline, disabled"),
        ({"name": "wandb", "project": "a/b"}, "tracking.project='a/b'"),
        (
            {"name": "wandb", "init_timeout": 0},
            "tracking.init_timeout=0.0: expected a positive number",
        ),
        (
            {"name": "wandb", "projekt": "x"},
            "unknown key tracking.projekt; expected one of: project",
        ),
        ({"name": "mlflow"}, "expected one of wandb, tensorboard, none"),
        ({}, "expected one of wandb, tensorboard, none"),
    ],
)
def test_mistakes_get_one_line(config, part, tmp_path):
    with pytest.raises(ConfigError) as error:
        tracking.start(config, describe(tmp_path))
    assert part in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("config", [{"name": "none"}, {"name": "wandb", "mode": "disabled"}])
def test_nothing_is_tracked(config, tmp_path, caplog):
    use(tracking.start(config, describe(tmp_path / "run")))
    assert not (tmp_path / "run").exists() and caplog.records == []


def test_curves_are_sorted_and_skip_what_was_not_measured():
    rows = curves.plain(lengths())
    assert (
        curves.lines(rows, "loss")["matched"] == ([256, 512, 1024], [0.5, 1.0, 2.0])
        and curves.lines(rows, "bits_per_byte") == {}
    )
    assert [point["eval/length"] for point in curves.points(rows)] == [256, 512, 1024]
    assert (
        all("002048" not in name for name in curves.scalars(rows))
        and curves.points([]) == []
        and curves.table([]) == ([], [])
    )
    assert curves.plain([{"value": float("nan"), "eval_length": 8}]) == [
        {"value": None, "eval_length": 8}
    ]


def test_child_ends_as_told_or_as_failed(fake, monkeypatch, tmp_path):
    """The child's own functions, in this process, with the fake for W&B."""
    notes = fake()
    spec = importlib.util.spec_from_file_location("fake_wandb", fake.module)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    run = wandb_process.open_run(
        module, {"init": {}, "settings": {"silent": True}, "parent": os.getpid()}
    )
    point = {"eval/length": 512, "eval/matched/loss": 1.0}
    request = {
        "columns": [],
        "data": [],
        "points": [point],
        "plots": {"loss": {"matched": [[512], [1.0]]}},
        "scalars": {},
    }
    requests = [
        json.dumps({"log": {"train/loss": 1, "train/step": 2}}),
        json.dumps({"curves": request}),
    ]
    steps = wandb_process.Steps(run, {"dir": str(tmp_path), "id": "x"})
    closing = iter([*requests, json.dumps({"close": 130})])
    assert wandb_process.serve(module, run, closing, steps) == 130
    assert wandb_process.serve(module, run, iter(requests), steps) == 1
    assert notes.read_text().split()[:5] == [
        "Settings",
        "init",
        "define_metric",
        "define_metric",
        "define_metric",
    ]
    fake("finish:1:exit")
    wandb_process.save(run)
    wandb_process.save(None)
    wandb_process.stopper(parent=-1)()
    assert notes.read_text().split() == ["finish"]
