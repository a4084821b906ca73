"""Several ranks compute what one process does, over gloo on a CPU, and end together."""

import signal
import time

import pytest

from lengthgen import files
from lengthgen.cli import main
from lengthgen.errors import ConfigError, Interrupted
from lengthgen.runs import after_steps, run, train_config
from lengthgen.runs.prepare import placed, prepare
from lengthgen.training import world
from lengthgen.training.ranks import Ranks
from lengthgen.training.world import World

from . import rank_cases

TORCHRUN = {"RANK": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}


def weights(folder):
    return files.read_json(folder / "done.json")["weights_sha256"]


def losses(folder):
    rows = files.read_jsonl(folder / "metrics.jsonl")
    return [row["train/loss"] for row in rows if "train/loss" in row]


def test_a_training_moves_from_one_process_to_two_ranks_and_back(ask, tmp_path, monkeypatch):
    """In the same parts of the batch the bits are the same, and the ranks stop at one step."""
    few = {"accumulate": 2, "tracking": "none", "log_every": 1}
    few |= {"evaluation__lengths": [16], "evaluation__protocols": ["matched"]}
    sharded = ask(**few, sharding="fsdp", results=str(tmp_path / "sharded"))
    moved = ask(**few)
    with monkeypatch.context() as patch:
        patch.setattr(after_steps.AfterSteps, "_log", rank_cases.stopping_at(2, 0))
        for each in (moved, sharded):
            with pytest.raises(Interrupted):
                run.train(each, [], figures=False)
    stopped = "= 143 stopped at step 4 of 6; rerun the same command to resume"
    printed = rank_cases.train([(moved, 4), (sharded, 4)], tmp_path)
    assert printed == [[stopped, stopped]] * 2
    alone = run.train(ask(**few, results=str(tmp_path / "alone")), [], figures=False).folder
    one_two_one = run.train(moved, [], figures=False).folder
    assert weights(one_two_one) == weights(alone) and losses(one_two_one) == losses(alone)
    segments = files.read_json(one_two_one / "provenance.json")["segments"]
    assert [(each["after_step"], each["ranks"]) for each in segments] == [(0, 1), (2, 2), (4, 1)]
    in_parts = run.train(sharded, [], figures=False).folder
    assert in_parts.name == alone.name
    assert losses(in_parts) == pytest.approx(losses(alone), abs=1e-6)


@pytest.mark.parametrize("sharding", ["none", "fsdp"])
@pytest.mark.slow
def test_two_ranks_have_the_losses_of_one(ask, tmp_path, sharding):
    few = {"steps": 50, "log_every": 1, "validate_every": 25, "tracking": "none"}
    few |= {"evaluation__lengths": [16], "evaluation__protocols": ["matched"]}
    alone = run.train(ask(**few), [], figures=False).folder
    both = ask(**few, results=str(tmp_path / "both"), sharding=sharding)
    printed = rank_cases.train([(both, None), (both, None)], tmp_path)
    assert printed == [["= trained", "= nothing to do"]] * 2
    folder = tmp_path / "both" / "runs" / alone.name
    assert losses(folder) == pytest.approx(losses(alone), abs=1e-6)
    assert [*folder.rglob("*.corrupt")] == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("rank", [0, 1])
def test_when_one_ends_the_others_do(ask, tmp_path, rank, number):
    endless = ask(steps=10**6, tracking="none", checkpoint_every=10)
    _store, ranks = rank_cases.start([(endless, None)], tmp_path)
    metrics = list_until(lambda: [*tmp_path.rglob("metrics.jsonl")])
    list_until(lambda: files.read_jsonl(metrics[0]))
    ranks[rank].send_signal(number)
    began = time.monotonic()
    printed = [each.communicate(timeout=60)[1] for each in ranks]
    assert time.monotonic() - began < 30
    other = ranks[1 - rank]
    if number == signal.SIGTERM:  # agreed on: one line, of either
        assert [each.returncode for each in ranks] == [0, 0]
        return
    assert other.returncode == 10
    line = f"rank {rank} of 2 is gone, and the others end; rerun the same command to resume\n"
    assert printed[1 - rank] == line


def list_until(found):
    for _ in range(600):
        if there := found():
            return there
        time.sleep(0.1)
    raise AssertionError("nothing came")


def test_what_several_ranks_cannot_do_is_one_line(ask, capfd, monkeypatch):
    both = Ranks()
    both.size = 2
    with pytest.raises(ConfigError, match="batch_size=3 over 2 ranks: expected a multiple"):
        prepare(train_config.check(ask(batch_size=3)), both)
    with pytest.raises(ConfigError, match="sharding=fsdp with compile=true"):
        prepare(train_config.check(ask(sharding="fsdp", compile=True)), both)
    for name, value in (TORCHRUN | {"WORLD_SIZE": "2"}).items():
        monkeypatch.setenv(name, value)
    assert main.main(["compare"]) == 2
    assert main.main(["train", "-m", "seed=0,1"]) == 2
    monkeypatch.setenv("LOCAL_RANK", "1")  # whose neighbour on the machine says it
    assert main.main(["compare"]) == 2
    printed = capfd.readouterr().err.splitlines()
    assert [line.partition(" (2 ranks)")[0] for line in printed] == [
        "lengthgen: lengthgen compare under torchrun",
        "lengthgen: a sweep under torchrun",
    ]


def test_a_gpu_that_is_not_there_is_one_line(ask, monkeypatch):
    with pytest.raises(ConfigError, match=r"device=gpu: expected one of .* cuda:1"):
        train_config.check(ask(device="gpu"))
    assert train_config.check(ask(device="cuda:3")).settings.device == "cuda:3"
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    chosen = []
    monkeypatch.setattr("torch.cuda.set_device", chosen.append)
    assert placed("cuda:1", "fp32", "device=")[0].index == 1 and len(chosen) == 1
    with pytest.raises(ConfigError, match="cuda:2: this machine has 2 GPUs"):
        placed("cuda:2", "fp32", "device=")
    second = Ranks()
    second.size, second.rank, second.local_rank = 4, 3, 1
    assert placed("auto", "auto", "device=", second)[0].index == 1


def test_the_ranks_of_torchrun_are_read_from_its_environment():
    assert world.world({}) == world.world({"WORLD_SIZE": "1", "RANK": "0"}) == World()
    assert world.world(TORCHRUN | {"WORLD_SIZE": "2"}) == World(1, 0, 2)


@pytest.mark.parametrize(
    "environment, words",
    [
        ({"WORLD_SIZE": "2", "RANK": "0"}, "without LOCAL_RANK, MASTER_ADDR, MASTER_PORT"),
        (TORCHRUN | {"WORLD_SIZE": "2", "RANK": "2"}, "RANK=2"),
        (TORCHRUN | {"WORLD_SIZE": "many"}, "WORLD_SIZE=many"),
    ],
)
def test_half_an_environment_is_refused(environment, words):
    with pytest.raises(ConfigError, match=words):
        world.world(environment)


@pytest.mark.parametrize(
    "size, accumulate, ranks, parts",
    [(4, 1, 1, 1), (4, 4, 1, 4), (4, 1, 2, 1), (4, 2, 2, 1), (4, 4, 2, 2), (12, 4, 3, 2)],
)
def test_a_rank_computes_its_rows_in_parts_no_larger_than_one_process(
    size, accumulate, ranks, parts
):
    each = Ranks()
    each.size = ranks
    assert each.parts(size, accumulate) == parts
    rows = []
    for each.rank in range(ranks):
        rows += range(size)[each.rows(size)]
    assert rows == list(range(size))
