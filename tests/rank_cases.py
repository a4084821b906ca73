"""Trainings by several ranks in processes of their own, for test_ranks.py.

As a program: one rank, which makes the trainings that a JSON file lists, one after the other.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from torch.distributed import TCPStore

from lengthgen.errors import Interrupted, UserError
from lengthgen.runs import after_steps, run

ROOT = Path(__file__).parent.parent


def start(jobs, folder, size=2):
    """The store and the processes of the ranks, as torchrun would start them.

    jobs: (configuration, the step at which a signal comes to the second rank, or None).
    """
    file = folder / "jobs.json"
    file.write_text(json.dumps(jobs))
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    several = {
        "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
    }  # fmt: skip
    return store, [
        subprocess.Popen(
            [sys.executable, "-m", "tests.rank_cases", str(file)],
            cwd=ROOT,
            env=os.environ | several | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]


def train(jobs, folder):
    """What each rank printed of how its trainings ended, a list of lines a rank."""
    _store, ranks = start(jobs, folder)
    printed = [rank.communicate(timeout=100) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], printed
    return [[line for line in out.splitlines() if line.startswith("= ")] for out, _ in printed]


def stopping_at(step, rank):
    """A patch of what follows a step, by which a signal comes to one rank alone."""
    log = after_steps.AfterSteps._log

    def stop(self, report):
        log(self, report)
        if report.step == step and self.run.ranks.rank == rank:
            self.stop.signal = 15

    return stop


def main():
    log = after_steps.AfterSteps._log
    for config, stop in json.loads(Path(sys.argv[1]).read_text()):
        if stop is not None:
            after_steps.AfterSteps._log = stopping_at(stop, 1)
        try:
            ended = run.train(config, [], figures=False).status
        except Interrupted as error:
            ended = f"{error.exit_code} {error}"
        except UserError as error:
            if not error.told:
                print(error, file=sys.stderr)
            sys.exit(error.exit_code)
        after_steps.AfterSteps._log = log
        print(f"= {ended}", flush=True)


if __name__ == "__main__":
    main()
