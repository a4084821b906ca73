"""Jobs of a sweep in processes of their own: what kills one ends no other."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lengthgen.cli import isolated, main
from lengthgen.errors import Interrupted

ROOT = Path(__file__).parent.parent


# Works for the child: importable, and without torch.


def ends_well(path):
    Path(path).write_text("done")
    return 0


def leaves(code):
    os._exit(code)


def kills_itself(number):
    os.kill(os.getpid(), number)
    time.sleep(30)


def waits(path):
    """Until a signal comes, whose number it writes."""

    def noted(number, frame):
        Path(path).write_text(str(number))
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, noted)
    Path(path).write_text("ready")
    time.sleep(30)


@pytest.mark.parametrize(
    ("work", "argument", "code", "words"),
    [
        (leaves, 0, 0, "ended with exit code 0"),
        (leaves, 3, 3, "ended with exit code 3"),
        (kills_itself, signal.SIGKILL, -9, "killed (137)"),
        (kills_itself, signal.SIGSEGV, -11, "killed (139)"),
        (kills_itself, signal.SIGABRT, -6, "killed (134)"),
        (kills_itself, signal.SIGTERM, -15, "killed (143)"),
    ],
)
def test_how_a_process_ended(work, argument, code, words):
    assert isolated.call(work, argument) == code
    assert isolated.how_it_ended(code) == words


def test_what_it_did_stays(tmp_path):
    assert isolated.call(ends_well, str(tmp_path / "file")) == 0
    assert (tmp_path / "file").read_text() == "done"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_is_passed_on_once_and_waited_for(tmp_path, number):
    path = tmp_path / "file"

    def send():
        while not path.exists() or path.read_text() != "ready":
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=send)
    thread.start()
    with pytest.raises(Interrupted) as caught:
        isolated.call(waits, str(path))
    thread.join()
    assert caught.value.exit_code == 128 + number and path.read_text() == str(int(number))


def test_isolate_without_a_sweep_is_one_line(capsys):
    assert main.main(["train", "--isolate", "seed=1"]) == 2
    assert capsys.readouterr().err == (
        "lengthgen: --isolate is for the jobs of a sweep: give -m with it\n"
    )


DEADLY = '''
"""No positions, and the end of the process where there is a file."""

import os
import signal
from pathlib import Path

from lengthgen.schemes import none


class Deadly(none.{base}):
    def __init__(self, *given):
        super().__init__(*given)
        if Path("deadly").exists():
            os.kill(os.getpid(), signal.SIGKILL)
'''


def test_a_killed_job_ends_no_other_and_is_all_that_is_made_again(tmp_path):
    from lengthgen import schemes

    (tmp_path / "mine" / "scheme").mkdir(parents=True)
    code = DEADLY.format(base=schemes.load("none").__name__)
    (tmp_path / "mine" / "scheme" / "lethal.py").write_text(code)
    (tmp_path / "mine" / "scheme" / "lethal.yaml").write_text("name: lethal\n")
    (tmp_path / "text").mkdir()
    for n in range(10):
        (tmp_path / "text" / f"{n}.txt").write_text(f"a quick brown fox number {n} jumps. " * 30)
    (tmp_path / "deadly").write_text("")
    words = (
        "train -m --isolate --config-dir mine scheme=lethal,none dataset=files dataset.path=text "
        "dataset.validation_fraction=0.5 steps=2 train_length=16 batch_size=2 model.width=16 "
        "model.n_layers=1 evaluation=quick tracking=none threads=1"
    )
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "LENGTHGEN_CACHE": str(tmp_path / "cache"),
    }  # fmt: skip

    def sweep():
        argv = [sys.executable, "-m", "lengthgen", *words.split()]
        done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, env=environment)
        return done, [line for line in done.stdout.splitlines() if line[:4] in ("1/2 ", "2/2 ")]

    first, rows = sweep()
    assert first.returncode == 1, first.stderr
    assert "failed: killed (137)" in rows[0] and "trained" in rows[1]
    assert "job 1/2 (scheme=lethal) failed: killed (137)" in first.stderr
    (tmp_path / "deadly").unlink()
    second, rows = sweep()
    assert second.returncode == 0, second.stderr
    assert "trained" in rows[0] and "nothing to do" in rows[1]
