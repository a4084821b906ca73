"""Scripts of docs/examples/ for clusters: they parse; a task of the array saves and requeues."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*/*.sbatch"))

# A run that saves when it is told to, and then ends as lengthgen does.
RUN = """#!/usr/bin/env bash
echo "$@" > asked
trap 'sleep 0.5; echo saved > saved; exit {code}' USR1
touch ready
for i in {{1..600}}; do sleep 0.1; done
"""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_bash(script):
    assert subprocess.run(["bash", "-n", script], capture_output=True).returncode == 0


def test_there_are_scripts():
    assert [path.name for path in SCRIPTS] == ["on_slurm.sbatch", "array.sbatch"]


def program(folder, name, text):
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin" / name).write_text(text)
    (folder / "bin" / name).chmod(0o755)


@pytest.mark.parametrize(("code", "requeued"), [(138, True), (1, False)])
def test_a_task_whose_time_is_up_saves_and_is_requeued(tmp_path, code, requeued):
    program(tmp_path, "lengthgen", RUN.format(code=code))
    program(tmp_path, "scontrol", '#!/bin/sh\necho "$@" > requeued\n')
    environment = {
        **os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_JOB_ID": "77",
    }  # fmt: skip
    script = EXAMPLES / "slurm" / "array.sbatch"
    task = subprocess.Popen(["bash", script], cwd=tmp_path, env=environment)
    ends = time.monotonic() + 30
    while not (tmp_path / "ready").exists() and time.monotonic() < ends:
        time.sleep(0.05)
    task.send_signal(signal.SIGUSR1)
    assert task.wait(30) == code
    assert (tmp_path / "saved").exists()
    assert (tmp_path / "asked").read_text().startswith("train scheme=t5_bias seed=2 ")
    assert (tmp_path / "requeued").exists() == requeued
    if requeued:
        assert (tmp_path / "requeued").read_text() == "requeue 77_5\n"
