"""The processes of a study: told to stop, each ends what it does, and begins nothing more."""

import os
import pickle
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from lengthgen.errors import Interrupted
from lengthgen.runs import stopping
from lengthgen.studies import running, workers

# Calls for a worker: importable, and without torch.


def notes(folder: str, name: str) -> str:
    (Path(folder) / name).write_text("")
    return name


def goes_on(folder: str, name: str) -> str:
    """Until a signal comes, once; then it saves. A test that fails does not hang."""
    with stopping.deferred() as stop:
        (Path(folder) / f"began {name}").write_text("")
        end = time.monotonic() + 60
        while not stop.signal and time.monotonic() < end:
            time.sleep(0.01)
        (Path(folder) / f"saved {name}").write_text(str(int(stop.signal)))
    return name


def dies(folder: str) -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return folder


def named(folder, word):
    return {path.name.split()[1] for path in folder.glob(f"{word} *")}


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_ends_the_loop_ends_the_calls_and_begins_none(tmp_path, error):
    folder = str(tmp_path)
    calls = [partial(notes, folder, "first")]
    calls += [partial(goes_on, folder, str(i)) for i in range(6)]
    with pytest.raises(error):
        for name in workers.each(calls, 2):
            assert name == "first"
            while not named(tmp_path, "began"):
                time.sleep(0.01)
            raise error
    began = named(tmp_path, "began")
    # At most one for each worker, though the pool had handed over one more.
    assert began and began <= {"0", "1"}
    assert named(tmp_path, "saved") == began
    signals = {path.read_text() for path in tmp_path.glob("saved *")}
    assert signals == {str(int(signal.SIGTERM))}


def test_a_worker_that_is_killed_is_one_line(tmp_path):
    with pytest.raises(workers.WorkerKilledError, match="out of memory"):
        list(workers.each([partial(dies, str(tmp_path))], 2))


def test_the_results_in_the_order_in_which_they_end(tmp_path):
    calls = [partial(notes, str(tmp_path), name) for name in "abc"]
    assert sorted(workers.each(calls, 2)) == ["a", "b", "c"]


def test_an_interruption_comes_through_a_pipe_whole():
    error = pickle.loads(pickle.dumps(Interrupted("stopped at step 3", signal.SIGHUP)))
    assert (str(error), error.exit_code) == ("stopped at step 3", 129)


@pytest.mark.parametrize("number", stopping.SIGNALS)
def test_every_signal_of_a_job_stops_the_study(number):
    assert 128 + number in running.INTERRUPTED
