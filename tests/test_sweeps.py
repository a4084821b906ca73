"""Sweeps: how they are told, budgets, engines, published runs, one GPU each, choices by Optuna."""

import io
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from lengthgen.cli import budget, devices, main, published_runs, stop_file, sweep, sweep_progress
from lengthgen.cli.sweep import Status
from lengthgen.errors import BudgetSpent, ConfigError, Interrupted
from lengthgen.runs import run as runs
from lengthgen.runs import stopping
from lengthgen.terminal.named_lines import NamedLines

from . import sweep_kills
from .sweep_kills import Command
from .test_cli import jobs  # noqa: F401

# What the command says


def test_progress_says_how_many_how_long_and_at_what_cost():
    statuses = [
        Status(1, "seed=0", "a", "trained", began=0, seconds=3600),
        Status(2, "seed=1", "b", "nothing to do", began=0, seconds=0.0),
        Status(3, "seed=2", "c", "failed", "x", began=0, seconds=0.0),
        Status(4, "seed=3", "d", sweep.RUNNING, began=3600.0, device="cuda"),
    ]
    told = sweep_progress.words(statuses, 6, now=3600.0 + 900)
    # 45 minutes of the one that runs, and an hour of each of the two that wait.
    assert told == (
        "2/6 jobs done, 1 failed, 1 running; 2h45m left; cost 1h00m of CPU and 15m00s of GPU"
    )
    assert sweep_progress.seconds_left(statuses[1:], 6, 4500.0) is None  # no job has said


def test_failures_name_run_and_reason():
    statuses = [
        Status(1, "seed=0", "rope-1", "trained"),
        Status(2, "seed=1", "rope-2", "failed: killed (137)", "killed (137)"),
        Status(3, "seed=-1", "", "failed", "seed=-1: expected 0 <= seed < 2^31"),
    ]
    assert sweep.failures(statuses, 3).splitlines() == [
        "failed  run          reason",
        "2/3     rope-2       killed (137)",
        "3/3     - (seed=-1)  seed=-1: expected 0 <= seed < 2^31",
    ]
    assert sweep.failures(statuses[:1], 3) == ""


def test_lines_say_whose_they_are():
    screen = io.StringIO()
    stream = NamedLines(screen, "seed=1")
    stream.write("a\nb")
    stream.name = "rope-s1"
    stream.write("c\n\n")
    stream.write("no end")
    stream.end()
    assert screen.getvalue() == "[seed=1] a\n[rope-s1] bc\n\n[rope-s1] no end\n"


# Stopping


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("25m", 1500), ("1h30m", 5400), ("2d", 172800), ("1.5h", 5400)],
)
def test_a_budget_is_a_time(text, seconds):
    assert budget.seconds(text) == seconds


@pytest.mark.parametrize("text", ["25", "m", "0m", "25 m", "1h x", "-5m", "25min"])
def test_another_budget_is_one_line(text, capsys):
    with pytest.raises(ConfigError, match="expected a time such as"):
        budget.seconds(text)
    assert main.main(["train", f"--budget={text}"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_budget_without_a_time_is_one_line(capsys):
    assert main.main(["train", "--budget"]) == 2
    assert "--budget needs a value: expected a time such as 25m" in capsys.readouterr().err


def test_a_budget_ends_a_training_after_its_step(ask, monkeypatch):
    """As a signal does, with a code of its own; the same command goes on."""
    from lengthgen.training import loop

    plain, calls = loop.forward_backward, []

    def third(*given, **options):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), stopping.TIMER)
        return plain(*given, **options)

    with monkeypatch.context() as patch, stopping.until(time.time() + 3600):
        patch.setattr(loop, "forward_backward", third)
        with pytest.raises(
            BudgetSpent, match="stopped at step 3 of 6: the budget is spent"
        ) as told:
            runs.train(ask(), [])
    assert told.value.exit_code == 9
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert runs.train(ask(), []).status == "trained"


def test_a_budget_that_ends_while_a_signal_is_obeyed_changes_nothing():
    with (
        pytest.raises(Interrupted, match="SIGTERM") as told,
        stopping.until(time.time() + 3600),
        stopping.deferred(),
    ):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(stopping.TIMER)
    assert told.value.exit_code == 143


def test_a_spent_budget_ends_a_sweep_with_its_code(jobs, monkeypatch, capsys):  # noqa: F811
    plain = sys.modules["lengthgen.runs.run"].train

    def work(config, own, begun=None):
        if config.seed == 2:
            signal.raise_signal(stopping.TIMER)
        return plain(config, own)

    monkeypatch.setattr(sys.modules["lengthgen.runs.run"], "train", work)
    with EndsWith(9):
        main.main(["train", "-m", "--budget", "1h", "seed=1,2,3"])
    assert len(jobs) == 1
    told = capsys.readouterr()
    assert "1 of 3 jobs were not run" in told.out
    assert "job 2/3 (seed=2) interrupted: the budget is spent; rerun" in told.err


def test_the_file_stops_a_job_once(tmp_path):
    seen = []
    with (
        pytest.raises(Interrupted, match="SIGTERM"),
        stop_file.obeyed(tmp_path, gone=lambda: False, alive=lambda: seen.append(1)),
        stopping.deferred() as stop,
    ):
        stop_file.write(tmp_path)
        deadline = time.monotonic() + 20
        while not stop.signal and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(2 * stop_file.POLL)  # a second one would end the block at once
    assert seen


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGUSR1"])
def test_a_signal_to_the_command_tells_its_jobs(tmp_path, name):
    number = getattr(signal, name)
    with pytest.raises(Interrupted) as told, stop_file.written_on_request(tmp_path):
        signal.raise_signal(number)
        deadline = time.monotonic() + 20
        while not stop_file.is_there(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.01)
    assert stop_file.is_there(tmp_path) and told.value.exit_code == 128 + number


# One GPU for each process


def test_processes_share_the_gpus_evenly(tmp_path):
    """Each that is alive holds one; the place of one that has gone is free again."""
    code = (
        "import os, sys; from pathlib import Path; from lengthgen.cli import devices\n"
        "devices.take(Path(sys.argv[1]), devices.visible())\n"
        "devices.take(Path(sys.argv[1]), devices.visible())\n"  # a later job of the same process
        "print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); sys.stdin.read()"
    )
    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "0,GPU-5",
        "PYTHONPATH": str(sweep_kills.ROOT),
    }

    def begin():
        argv = [sys.executable, "-c", code, str(tmp_path)]
        process = subprocess.Popen(
            argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return process, process.stdout.readline().strip()

    begun = [begin() for _ in range(3)]
    try:
        assert [device for _, device in begun] == ["0", "GPU-5", "0"]
        begun[1][0].kill()
        begun[1][0].wait()
        begun.append(begin())
        assert begun[-1][1] == "GPU-5"
    finally:
        for process, _ in begun:
            process.communicate()


@pytest.mark.parametrize("given", [(), ("3",)])
def test_one_gpu_or_none_is_left_alone(tmp_path, monkeypatch, given):
    monkeypatch.delenv(devices.OURS, raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(given))
    assert devices.visible() == given
    devices.take(tmp_path, given)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ",".join(given) and not list(tmp_path.iterdir())


# Published runs


def test_published_runs_are_done_where_no_run_folder_is(ask, tmp_path, caplog):
    """On a machine that has the sealed folder alone."""
    import shutil

    from lengthgen.reporting import publish

    caplog.set_level("INFO", logger="lengthgen")
    first = runs.train(ask(), [], figures=False)
    publish.publish(tmp_path / "results", "mine", {"scheme": ["*"]})
    shutil.rmtree(tmp_path / "results" / "runs")

    def again(**changes):
        found = []

        def begun(run):
            found.append(published_runs.outcome(run))
            return SimpleNamespace(status="asked")

        runs.train(ask(**changes), [], begun=begun)
        return found[0]

    known = again()
    assert (known.run_id, known.status) == (first.run_id, "published")
    assert "published in" in caplog.text
    # Whatever was not published is to be made.
    assert again(seed=1) is again(evaluation__documents=3) is again(keep_at_steps=[2]) is None
    assert again(evaluate_at_steps=[2]) is None
    table = tmp_path / "results" / "mine" / "lengths.csv"
    whole = table.read_text()
    table.write_text(whole.replace("ok", "ko", 1))  # no longer what was published
    assert again() is None
    table.write_text(whole)
    (table.parent / "manifest.json").unlink()  # nobody says that it is whole
    assert again() is None


# The choice of Optuna


def lengths(path, rows):
    path.mkdir(parents=True)
    head = "run,steps,train_length,eval_length,protocol,metric,value,status\n"
    (path / "lengths.csv").write_text(head + "".join(f"{row}\n" for row in rows))
    return path / "lengths.csv"


def test_the_loss_that_decides_is_that_at_the_training_length(tmp_path):
    table = lengths(
        tmp_path / "x",
        [
            "a,4,64,32,matched,loss,1,ok", "a,4,64,128,matched,loss,2,ok",
            "a,4,64,64,nonoverlapping,loss,3,ok", "a,4,64,64,matched,perplexity,4,ok",
            "a,2,64,64,matched,loss,5,ok", "b,4,64,64,matched,loss,6,ok",
            "a,4,64,64,matched,loss,7,ok",
        ],
    )  # fmt: skip
    assert published_runs.loss_at_train_length(table, "a") == 7
    assert published_runs.loss_at_train_length(table, "c") is None


@pytest.fixture
def landscape(jobs, monkeypatch, tmp_path):  # noqa: F811
    """Jobs whose loss at 64 is lowest at a rate of 0.003, and at 128 at the highest rate."""
    pytest.importorskip("optuna")
    asked = []

    def work(config, own, begun=None):
        rate = config.optim.lr
        asked.append(rate)
        at = (math.log10(rate) - math.log10(0.003)) ** 2
        folder = tmp_path / "results/runs" / f"r{rate}" / "evaluation/e"
        if not folder.exists():
            rows = [
                f"r{rate},4,64,64,matched,loss,{at},ok",
                f"r{rate},4,64,128,matched,loss,{-rate},ok",
            ]
            lengths(folder, rows)
        return SimpleNamespace(
            run_id=f"r{rate}", folder=folder, status="trained", evaluation=folder
        )

    monkeypatch.setattr(sys.modules["lengthgen.runs.run"], "train", work)
    monkeypatch.setattr("lengthgen.cli.multirun._compare", lambda *given: None)
    return asked


OPTUNA = (
    "train -m hydra/sweeper=optuna hydra.sweeper.n_trials=12 optim.lr=tag(log,interval(1e-5,1e-1))"
)


def test_optuna_chooses_by_the_loss_at_the_training_length_alone(landscape, capsys):
    assert main.main(OPTUNA.split()) == 0
    told = capsys.readouterr().out.splitlines()
    best = min(landscape, key=lambda rate: abs(math.log(rate / 0.003)))
    assert len(landscape) == 12
    assert told[-1].startswith(f"the lowest loss at the training length L has optim.lr={best:.4g} ")
    assert [float(line.split()[0]) for line in told[-14:-2]] == sorted(
        float(line.split()[0]) for line in told[-14:-2]
    )
    assert max(landscape) != best  # which is best beyond it
    # The same command asks for the same runs.
    first = list(landscape)
    assert main.main(OPTUNA.split()) == 0
    assert landscape[12:] == first


def test_optuna_goes_on_after_a_failure_and_ends_at_a_signal(landscape, monkeypatch):
    plain = sys.modules["lengthgen.runs.run"].train
    faults = {2: ZeroDivisionError("x"), 5: Interrupted("stopped", signal.SIGTERM)}

    def work(config, own, begun=None):
        outcome = plain(config, own)
        if error := faults.get(len(landscape)):
            raise error
        return outcome

    monkeypatch.setattr(sys.modules["lengthgen.runs.run"], "train", work)
    with EndsWith(143):
        main.main(OPTUNA.split())
    assert len(landscape) == 5


def test_an_interval_needs_a_sweeper_that_chooses(jobs, capsys):  # noqa: F811
    assert main.main(["train", "-m", "optim.lr=interval(1e-4,1e-2)"]) == 2
    assert "gives no single values" in capsys.readouterr().err


class EndsWith:
    """The block ends the process with this code."""

    def __init__(self, code):
        self.code = code

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        assert kind is SystemExit and error.code == self.code, error
        return True


# Whole sweeps, in processes of their own


def swept(folder, engine, more=""):
    command = Command(folder, engine, schemes="none,rope", seeds="0,-1", more=more)
    code = command.to_its_end()
    return code, (folder / "said.txt").read_text()


def statuses(folder):
    newest = max(folder.glob("results/sweeps/*"), key=lambda path: path.stat().st_mtime)
    return sweep.read(newest)


@pytest.mark.parametrize("engine", ["joblib", "submitit_local", "ray"])
def test_a_sweep_under_an_engine(tmp_path, engine):
    """Four jobs, two of which fail: k of n, lines with their run, failures; then nothing to do."""
    packages = {"joblib": "hydra_joblib_launcher", "submitit_local": "hydra_submitit_launcher"}
    name = packages.get(engine)
    pytest.importorskip(f"hydra_plugins.{name}" if name else "ray")
    sweep_kills.write_text(tmp_path)
    code, said = swept(tmp_path, engine)
    assert code == 1, said
    assert "2/4 jobs done, 2 failed" in said and "cost " in said
    # What submitit's jobs print is in files of their own.
    logs = tmp_path.glob("results/sweeps/*/.submitit/*/*.[oe]*")
    printed = said + "\n".join(path.read_text() for path in logs if path.is_file())
    # a line, and a row of failures, of each
    assert printed.count("expected 0 <= seed < 2^31") >= 4
    made = [status for status in statuses(tmp_path) if status.run]
    assert [status.status for status in made] == ["trained"] * 2
    for status in made:
        assert f"[{status.run}] trained in" in printed
    assert swept(tmp_path, engine)[0] == 1
    assert [s.status for s in statuses(tmp_path) if s.run] == ["nothing to do"] * 2


@pytest.mark.slow
def test_submitit_puts_a_job_back_in_its_queue_after_it_has_saved(tmp_path):
    """SIGUSR2 comes to a job before its time is up; the command waits for the second attempt."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    sweep_kills.write_text(tmp_path)
    more = "steps=4000 checkpoint_every=100000"
    command = Command(tmp_path, "submitit_local", schemes="rope", seeds="0", more=more)
    process = command.begin()
    waited_until = time.monotonic() + 240
    log = ""
    while "step 10/" not in log and time.monotonic() < waited_until:
        time.sleep(0.1)
        log = "".join(path.read_text() for path in tmp_path.glob("results/runs/*/log.txt"))
    job = [pid for pid in command.processes() if "SUBMITIT_LOCAL_GLOBALID=0" in environment(pid)]
    os.kill(job[0], signal.SIGUSR2)
    assert process.wait(400) == 0, (tmp_path / "said.txt").read_text()
    log = "".join(path.read_text() for path in tmp_path.glob("results/runs/*/log.txt"))
    assert log.count("resuming at step") == 1 and log.count(" trained in ") == 1
    assert [status.status for status in statuses(tmp_path)] == ["trained"]


def environment(pid):
    return Path(f"/proc/{pid}/environ").read_text().split("\0")


@pytest.mark.slow
@pytest.mark.parametrize("engine", sweep_kills.ENGINES)
def test_a_sweep_that_is_killed_five_times(tmp_path, engine):
    import random

    whole = sweep_kills.undisturbed(tmp_path)
    assert len(whole) == 24
    kills = sweep_kills.at_random(40, 5, random.Random(1))
    assert sweep_kills.killed(engine, tmp_path, kills, whole) == []
