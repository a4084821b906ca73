"""The benchmark's own arithmetic: order, formulas, peers, tables. Nothing here asserts a time."""

import csv
import dataclasses
import importlib.util
import json
import mmap
import os

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lengthgen import schemes
from lengthgen.bench import (
    attention,
    child,
    command,
    decode,
    figure,
    flops,
    marks,
    measuring,
    memory,
    peers,
    report,
    share,
    throughput,
    workload,
)
from lengthgen.cli import main
from lengthgen.errors import ConfigError

CPU = torch.device("cpu")
SMALL = workload.Shape(layers=2, width=64, heads=4, length=32, batch=2, vocab=257)
HERE = workload.Place(CPU, "fp32")
TINY = [
    "--layers=1",
    "--width=16",
    "--heads=2",
    "--length=8",
    "--batch=1",
    "--vocab=11",
    "--rounds=2",
    "--seconds=0",
    "--clock=wall",
]


def quiet(text):
    pass


@pytest.fixture(autouse=True)
def as_before():
    """Restores the process settings; unseeded weights are the same in any order of the tests."""
    threads, flush = torch.get_num_threads(), torch.tensor([1e-40]).mul(1.0).item() == 0.0
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(flush)


@pytest.fixture
def small_ceiling(monkeypatch):
    monkeypatch.setattr(flops, "CEILING_SIZE", {"cpu": 64, "cuda": 64})


# Measuring


def test_every_candidate_is_called_once_a_round_in_a_changing_order():
    calls = []
    candidates = [
        measuring.Candidate(name, "part", lambda name=name: calls.append(name)) for name in "abc"
    ]
    measured = measuring.interleave(candidates, 4, CPU, "wall", at_least=0, tell=quiet)
    del calls[: len(calls) - 12]  # warm-up
    rounds = ["".join(calls[start : start + 3]) for start in range(0, 12, 3)]
    assert rounds == ["abc", "cba", "bca", "acb"]
    assert [[s.place for s in measured.samples[name]] for name in "abc"] == [
        [0, 2, 2, 0],
        [1, 1, 0, 2],
        [2, 0, 1, 1],
    ]


@pytest.mark.parametrize("n", [1, 2, 5])
def test_every_candidate_has_every_place_equally_often(n):
    orders = [measuring.order(n, number) for number in range(2 * n)]
    assert all(sorted(places) == list(range(n)) for places in orders)
    for place in range(n):
        assert sorted(places[place] for places in orders) == sorted([*range(n), *range(n)])
    assert all(
        forwards == backwards[::-1]
        for forwards, backwards in zip(orders[::2], orders[1::2], strict=True)
    )


def test_short_calls_are_repeated_and_reported_as_one(monkeypatch):
    clock = iter(np.arange(0, 1000, 0.05))
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: float(next(clock)))
    calls = []
    measured = measuring.interleave(
        [measuring.Candidate("a", "part", lambda: calls.append(1))],
        1,
        CPU,
        "wall",
        at_least=0.5,
        tell=quiet,
    )
    assert len(calls) == 2 + 10
    assert measured.seconds("a") == pytest.approx([0.05 / 10])


def test_ratios_are_taken_within_rounds():
    measured = measuring.Measured([], "wall")
    measured.samples = {
        "slow": [measuring.Sample(i, 0, wall, 0) for i, wall in enumerate((2.0, 20.0, 200.0))],
        "fast": [measuring.Sample(i, 1, wall, 0) for i, wall in enumerate((1.0, 10.0, 100.0))],
    }
    assert measured.ratio("slow", "fast") == (2.0, 2.0, 2.0)
    assert measured.ratio("slow", "absent") is None


def test_a_candidate_that_fails_is_left_out_with_its_reason():
    def fails():
        raise RuntimeError("no kernel\nmore")

    told = []
    candidates = [
        measuring.Candidate("bad", "part", fails),
        measuring.Candidate("good", "part", lambda: None),
    ]
    measured = measuring.interleave(candidates, 2, CPU, "cpu", at_least=0, tell=told.append)
    assert measured.failed == {"bad": "no kernel"} and list(measured.samples) == ["good"]
    assert told[0] == "bad is left out: no kernel"


def test_the_clock_that_counts():
    torch.set_num_threads(1)
    assert measuring.clock_for("auto", CPU) == "cpu"
    torch.set_num_threads(2)
    assert measuring.clock_for("auto", CPU) == "wall" and measuring.clock_for("cpu", CPU) == "cpu"
    assert measuring.clock_for("auto", torch.device("cuda")) == "wall"
    with pytest.raises(ConfigError, match="--clock cpu"):
        measuring.clock_for("cpu", torch.device("cuda"))


# FLOPs


def test_the_formula_counts_what_torch_counts():
    model = peers.GPT(SMALL)
    tokens = torch.zeros(1, SMALL.length, dtype=torch.int64)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as forward:
        loss = peers.loss(model, tokens, tokens)
    assert forward.get_total_flops() == flops.forward(
        SMALL, SMALL.length, SMALL.length, attention=1.0
    )
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as backward:
        loss.backward()
    # As the formula says, torch's composite attention multiplies twice as often backward.
    assert backward.get_total_flops() == 2 * forward.get_total_flops()


def test_causal_attention_counts_half_and_a_step_counts_three_forwards():
    half, whole = (flops.forward(SMALL, 32, 0, attention=share) for share in (flops.CAUSAL, 1.0))
    assert whole - half == 2 * SMALL.layers * SMALL.width * 32**2
    assert flops.train_step(SMALL) == 3 * SMALL.batch * flops.forward(SMALL, 32, 32)
    # 2 * 12 * layers * width^2 * T + 2 * layers * width * T^2 + 2 * width * V * scored
    reference = workload.Shape(vocab=256)
    assert (
        flops.forward(reference, 2048, 256)
        == 24 * 6 * 256**2 * 2048 + 2 * 6 * 256 * 2048**2 + 2 * 256 * 256 * 256
    )


def test_evaluation_counts_the_windows_that_are_run():
    model, wanted = workload.build("none", SMALL, HERE), throughput.evaluation(SMALL, 1)
    one_grid = throughput.counted(model, wanted, wanted.requests, SMALL)
    separate = sum(
        throughput.counted(model, wanted, [request], SMALL) for request in wanted.requests
    )
    alone = sum(
        len(r.windows) * flops.forward(SMALL, r.eval_length, r.eval_length - r.windows[0].first)
        for r in wanted.requests
    )
    assert one_grid < separate == pytest.approx(alone)
    normalised = workload.build(
        "normalised_sinusoid", SMALL, HERE
    )  # not prefix-consistent: windows of different length are not merged
    assert throughput.counted(normalised, wanted, wanted.requests, SMALL) > one_grid


def test_the_default_evaluation_takes_two_fifths_of_separate_passes():
    shape = workload.Shape()
    model, wanted = workload.build("none", shape, HERE), throughput.evaluation(shape, 2)
    separate = sum(
        throughput.counted(model, wanted, [request], shape) for request in wanted.requests
    )
    # The pass mark of the time is 0.4.
    assert throughput.counted(model, wanted, wanted.requests, shape) <= 0.39 * separate


def test_the_ceiling_is_one_square_product():
    call, work = flops.ceiling(HERE, size=8)
    assert work == 2 * 8**3 and call().shape == (8, 8)


# Peers


@pytest.mark.parametrize("peer", peers.PEERS, ids=lambda peer: peer.name)
def test_peers_have_our_size_and_a_finite_loss_and_learn(peer):
    if peer.package:
        pytest.importorskip(peer.module)
    ((_, model),) = peers.built(SMALL, [peer], quiet)
    ours = workload.build("none", SMALL, HERE)
    assert peers.parameters(model) == pytest.approx(
        sum(p.numel() for p in ours.parameters()), rel=0.02
    )
    batch = workload.batch(workload.random_store(1, 100, SMALL.vocab), SMALL, 0, HERE)
    step = peers.step(model, lambda _: batch, HERE.autocast)
    losses = [float(step()) for _ in range(8)]
    assert np.isfinite(losses).all() and losses[-1] < losses[0]


@pytest.mark.parametrize("peer", peers.PEERS, ids=lambda peer: peer.name)
def test_peers_are_causal(peer):
    if peer.package:
        pytest.importorskip(peer.module)
    ((_, model),) = peers.built(SMALL, [peer], quiet)
    model.eval()
    tokens = torch.randint(SMALL.vocab, (1, 12), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[:, -1] = (tokens[:, -1] + 1) % SMALL.vocab
    with torch.no_grad():
        outputs = [
            output if isinstance(output := model(x), torch.Tensor) else output.logits
            for x in (tokens, changed)
        ]
    assert torch.allclose(outputs[0][:, :-1], outputs[1][:, :-1], atol=1e-5)
    assert not torch.allclose(outputs[0][:, -1], outputs[1][:, -1], atol=1e-5)


def test_a_missing_package_is_one_line(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "x_transformers" else find(name, *rest),
    )
    told = []
    plain_and_missing = [peer for peer in peers.PEERS if peer.package != "transformers"]
    assert [name for name, _ in peers.built(SMALL, plain_and_missing, told.append)] == [
        "nanogpt_style"
    ]
    assert told == [
        "x-transformers is not installed: its models are left out (pip install x-transformers)"
    ]


def test_a_package_with_another_interface_is_one_line():
    def build(shape):
        raise TypeError("unexpected\nkeyword")

    told = []
    assert peers.built(SMALL, [peers.Peer("odd", "torch", build)], told.append) == []
    assert told[0].startswith("odd is left out: torch ") and told[0].endswith(
        "raised TypeError: unexpected keyword"
    )


# Marks

ALL_MARKS = (
    *marks.ATTENTION,
    marks.MEMORY,
    *marks.TRAINING,
    *marks.LONGER,
    *marks.EVALUATION,
    *marks.SHARE,
)


def test_marks_are_judged_in_their_own_direction():
    measured = measuring.Measured([], "wall")
    measured.samples = {
        name: [measuring.Sample(0, 0, wall, 0)]
        for name, wall in {"none": 1.0, "t5_bias": 1.05, "nanogpt_style": 0.9, "fire": 2.0}.items()
    }
    wanted = [
        marks.Mark("train", "t5_bias", "none", 0.9),
        marks.Mark("train", "fire", "none", 0.7),
        marks.Mark("train", "none", "fire", 0.5, "times"),
        marks.Mark("train", "none", "absent", 1.0),
        marks.Mark("other", "none", "fire", 1.0),
    ]
    rows = marks.judge(wanted, {"train": measured})
    assert [row["verdict"] for row in rows] == [
        "pass",
        "fail",
        "pass",
        "not measured",
        "not measured",
    ]
    assert [row["measured"] for row in rows[:3]] == pytest.approx([1 / 1.05, 0.5, 0.5])
    assert rows[3]["reason"] == "absent was not run" and rows[4]["reason"] == "`other` was not run"
    assert {
        row["verdict"] for row in marks.judge(wanted[:3], {"train": measured}, judged=False)
    } == {"measured"}


def test_the_ratio_of_flops_stands_beside_the_measured_one():
    candidates = [
        measuring.Candidate(name, "part", quiet, flops=flops)
        for name, flops in {"a": 2.0, "b": 8.0, "c": 0.0}.items()
    ]
    measured = measuring.Measured(
        candidates, "wall", {name: [measuring.Sample(0, 0, 1.0, 0)] for name in "abc"}
    )
    rows = marks.judge(
        [marks.Mark("evaluate", "a", other, 0.4, "times") for other in "bc"], {"evaluate": measured}
    )
    assert [row["flops_ratio"] for row in rows] == [0.25, None] and [
        row["measured"] for row in rows
    ] == [1.0, 1.0]


def test_the_share_of_an_evaluation_in_a_run():
    seconds = {
        "alibi, training step": [0.1, 0.2],
        f"alibi, {share.DOCUMENTS} documents": [share.DOCUMENTS * 0.25] * 2,
    }
    measured = measuring.Measured(
        [],
        "cpu",
        {
            name: [measuring.Sample(i, 0, 9.0, cpu) for i, cpu in enumerate(some)]
            for name, some in seconds.items()
        },
    )
    row = next(row for row in share.judge(measured) if row["what"].startswith("time of alibi"))
    evaluation, training = 0.25 * 48, np.array([0.1, 0.2]) * 3000  # the defaults of configs/
    assert (
        row["measured"] == pytest.approx(np.mean(evaluation / (evaluation + training)))
        and row["verdict"] == "pass"
    )
    assert {row["verdict"] for row in share.judge(measured) if "alibi" not in row["what"]} == {
        "not measured"
    }
    at = share.shape()
    assert (at.layers, at.width, at.heads, at.length, at.batch) == (4, 128, 4, 512, 4)


def test_every_mark_names_what_is_measured():
    known = {*schemes.names(), *(peer.name for peer in peers.PEERS)}
    assert set(marks.SCHEMES) <= set(schemes.names()) and set(marks.LONGER_PEERS) <= known
    others = {peer.name for peer in peers.PEERS if peer.package}
    for mark in (*marks.TRAINING, *marks.LONGER):
        assert {mark.ours, mark.other} <= known
        assert mark.bench == (
            "train"
            if mark.other not in others
            else "train longer"
            if mark in marks.LONGER
            else "train peers"
        )
        assert mark.bench != "train peers" or mark.ours in marks.PEER_SCHEMES
    groups = [attention.training_group(s, HERE, scale=64) for s in attention.TRAINING]
    groups += [attention.evaluation_group(s, HERE, scale=256) for s in attention.EVALUATION]
    with attention.crops_group(scale=10_000) as crops:
        names = {
            group.name: {candidate.name for candidate in group.candidates}
            for group in (*groups, crops)
        }
    for mark in marks.ATTENTION:
        assert {mark.ours, mark.other} <= names[mark.bench]
    compared = [(mark.bench, mark.what) for mark in ALL_MARKS]
    assert len(set(compared)) == len(compared) == 41


# What is compared computes the same


def test_candidates_of_a_group_agree():
    group = attention.training_group((2, 2, 40, 16), HERE)
    results = {candidate.name: candidate.call() for candidate in group.candidates}
    for name in ("learned bias, dense strided", "learned bias, dense gather"):
        for ours, theirs in zip(results["learned bias"], results[name], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(results["no bias"], results["is_causal"], rtol=1e-4, atol=1e-4)
    outputs = [
        candidate.call()
        for candidate in attention.evaluation_group((1, 2, 40, 16), HERE).candidates
    ]
    torch.testing.assert_close(outputs[1], outputs[2], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(outputs[2], outputs[3], rtol=1e-4, atol=1e-5)


def test_crops_and_their_rival_give_windows_and_their_targets():
    with attention.crops_group(scale=10_000) as group:
        for candidate in group.candidates:
            inputs, targets = candidate.call()
            assert (
                inputs.shape == targets.shape == attention.CROPS
                and inputs.dtype == targets.dtype == torch.int64
            )
            assert torch.equal(inputs[:, 1:], targets[:, :-1])


def test_training_candidates_train(small_ceiling):
    candidates = throughput.training_candidates(
        SMALL, ["none", "t5_bias"], HERE, [peers.PEERS[0]], False
    )
    assert [(c.name, c.kind) for c in candidates] == [
        ("none", "scheme"), ("t5_bias", "scheme"), ("nanogpt_style", "peer"), ("matmul", "ceiling"),
    ]  # fmt: skip
    assert len({c.parameters for c in candidates[:3]}) == 1  # positional parameters are not counted
    assert {c.tokens for c in candidates[:3]} == {SMALL.batch * SMALL.length}
    for candidate in candidates:
        candidate.call()


# Memory


def test_memory_is_measured_above_the_base(monkeypatch):
    events, peaks = [], iter((100, 350))
    monkeypatch.setattr(child, "_reset_peak", lambda: events.append("reset"))
    monkeypatch.setattr(child, "_peak", lambda: events.append("peak") or next(peaks))
    found = child.measure(lambda: events.append("call"), "cpu")
    assert events == ["reset", "peak", "call", "peak"] and (found["base"], found["peak"]) == (
        100,
        350,
    )


@pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK),
    reason="the peak of this process cannot be reset",
)
def test_the_peak_is_of_the_call_and_of_what_it_has_given_back_too():
    size = 128 * 2**20

    def call():
        with mmap.mmap(-1, size) as fresh:  # from the system, never from what malloc has kept
            fresh[:: mmap.PAGESIZE] = b"x" * (size // mmap.PAGESIZE)

    for _ in range(2):  # the second time the first peak is forgotten
        found = child.measure(call, "cpu")
        assert size / 2 < found["peak"] - found["base"] < 2 * size


def test_memory_of_schemes_each_in_its_own_process(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = memory.run(
        {"case": "evaluate", "scheme": "alibi", "shape": dataclasses.asdict(SMALL), "tokens": 128},
        HERE,
        1,
    )
    assert found["status"] == "ok" and found["peak"] >= found["base"] > 10 * 2**20
    above = {"none": 2, "alibi": 3}  # MiB
    monkeypatch.setattr(
        memory,
        "run",
        lambda job, *rest: found | {"peak": found["base"] + above[job["scheme"]] * 2**20},
    )
    rows = memory.evaluation_rows(SMALL, ["none", "alibi"], 128, HERE, 1)
    assert [tuple(row) for row in rows] == [memory.COLUMNS] * 2
    assert [(row["status"], row["above_mib"], row["of_none"]) for row in rows] == [
        ("ok", 2, 1),
        ("ok", 3, 1.5),
    ]


def test_a_child_that_dies_is_a_row():
    found = memory.run({"case": "no such case"}, HERE, 1)
    assert found["status"] == "failed" and "KeyError" in found["reason"]


# The command


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_train_writes_a_table_a_figure_and_the_facts(tmp_path, capsys, small_ceiling):
    assert (
        main.main(
            [
                "bench",
                "train",
                *TINY,
                "--schemes",
                "alibi",
                "--threads",
                "1",
                "--out",
                str(tmp_path),
            ]
        )
        == 0
    )
    rows = read(tmp_path / "train.csv")
    assert tuple(rows[0]) == throughput.COLUMNS and [row["candidate"] for row in rows] == [
        "none",
        "alibi",
        "matmul",
    ]
    assert (
        float(rows[0]["of_none"]) == 1.0
        and rows[2]["of_none"] == ""
        and float(rows[1]["tokens_per_second"]) > 0
    )
    samples = read(tmp_path / "train-samples.csv")
    assert tuple(samples[0]) == report.SAMPLES and len(samples) == 3 * 2
    assert [row["candidate"] for row in samples] == [
        "none",
        "alibi",
        "matmul",
        "matmul",
        "alibi",
        "none",
    ]
    facts = json.loads((tmp_path / "train.json").read_text())
    assert {
        "commit",
        "versions",
        "threads",
        "environment",
        "load_before",
        "load_after",
        "clock",
        "flush_denormal",
        "shape",
    } <= facts.keys()
    page, out = (tmp_path / "train.md").read_text(), capsys.readouterr().out
    assert "| alibi" in page and "\nalibi " in out and "load_after" in page
    assert (tmp_path / "train.png").stat().st_size > 1000 and (tmp_path / "train.svg").exists()


def test_evaluate_writes_its_marks(tmp_path, small_ceiling):
    assert (
        main.main(
            [
                "bench",
                "evaluate",
                *TINY,
                "--schemes",
                "fire",
                "--threads",
                "1",
                "--out",
                str(tmp_path),
            ]
        )
        == 0
    )
    assert [row["candidate"] for row in read(tmp_path / "evaluate.csv")] == [
        "none",
        "none, separate passes",
        "fire",
        "matmul",
    ]
    found = read(tmp_path / "evaluate_marks.csv")
    assert tuple(found[0]) == marks.COLUMNS and [row["verdict"] for row in found] == [
        "measured",
        "not measured",
    ]


def test_together_writes_both_ways(tmp_path):
    quick = ["--models=3", "--rounds=2", "--seconds=0", "--threads=1", "--schemes=rope,t5_bias"]
    assert main.main(["bench", "together", *TINY, *quick, "--out", str(tmp_path)]) == 0
    alone, together = read(tmp_path / "together.csv")
    assert (alone["candidate"], alone["of_alone"]) == ("one after the other", "1")
    assert together["models"] == "3" and float(together["of_alone"]) > 0
    assert alone["tokens"] == together["tokens"]


def test_share_writes_its_marks(tmp_path):
    quick = ["--scale=128", "--rounds=2", "--seconds=0", "--clock=wall", "--threads=1"]
    assert main.main(["bench", "share", *quick, "--out", str(tmp_path)]) == 0
    found = read(tmp_path / "share_marks.csv")
    assert [row["verdict"] for row in found] == ["measured"] * len(marks.SHARE_SCHEMES) and all(
        0 < float(row["measured"]) < 1 for row in found
    )
    assert json.loads((tmp_path / "share_marks.json").read_text())["shape"]["length"] == 4


def test_attention_prints_and_saves_nothing_unless_told(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(memory, "attention_ratio", lambda *rest: (0.2, "1 of 5 MiB"))
    assert main.main(["bench", "attention", *TINY, "--scale", "128", "--threads", "1"]) == 0
    out = capsys.readouterr().out
    assert (
        "attention_training L1024" in out
        and "attention_memory L1024" in out
        and "nothing is saved" in out
        and list(tmp_path.iterdir()) == []
    )


def test_bias_gradient_writes_its_table(tmp_path):
    tiny = ["--device=cpu", "--scale=64", "--rounds=1", "--seconds=0", "--clock=wall"]
    assert main.main(["bench", "bias_gradient", *tiny, "--out", str(tmp_path)]) == 0
    rows = read(tmp_path / "bias_gradient.csv")
    assert tuple(rows[0]) == attention.COLUMNS and len({row["bench"] for row in rows}) == 3
    assert {row["status"] for row in rows} == {"ok"}


def test_marks_are_one_table(tmp_path, monkeypatch, small_ceiling):
    monkeypatch.setattr(memory, "attention_ratio", lambda *rest: (None, "no memory here"))
    for peer in ("x_transformers", "transformers"):
        pytest.importorskip(peer)
    assert (
        main.main(
            ["bench", "marks", *TINY, "--scale", "128", "--threads", "1", "--out", str(tmp_path)]
        )
        == 0
    )
    rows = read(tmp_path / "marks.csv")
    assert [(row["bench"], row["what"]) for row in rows] == [
        (mark.bench, mark.what) for mark in ALL_MARKS
    ]
    assert {row["verdict"] for row in rows if row["bench"] != marks.MEMORY.bench} == {"measured"}
    drawn = {path.stem for path in tmp_path.glob("*.png")}
    assert drawn == {"train", "train_peers", "train_longer", "evaluate", "marks"}


def test_figures_are_the_same_bytes_for_the_same_numbers(tmp_path):
    dots = [
        figure.Dot("none", 1.0, 0.9, 1.1, "10 tokens/s"),
        figure.Dot("someone's", 0.5, mark=0.7, colour="#000000"),
    ]
    for name in "ab":
        figure.write(dots, "Title", "subtitle", "axis", tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert figure.write([], "Title", "subtitle", "axis", tmp_path / "c") == []


def test_a_markdown_table_leaves_empty_columns_out():
    lines = report.markdown(
        [{"a": "x", "b": None, "c": 1234.5}, {"a": "y|z", "b": None, "c": 0.00123}], ["a", "b", "c"]
    )
    assert lines == ["| a | c |", "|---|---:|", "| x | 1,234 |", "| y\\|z | 0.00123 |"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["swim"], "invalid choice"),
        (["train", "--schemes", "rotary"], "'rotary' has no code"),
        (["train", "--width", "30"], "--width 30"),
        (["train", "--rounds", "0"], "positive"),
    ],
)
def test_mistakes_are_one_line(argv, words, capsys):
    assert main.main(["bench", *argv]) == 2
    captured = capsys.readouterr()
    assert words in captured.err and captured.err.count("\n") == 1


def test_help_names_every_kind(capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main(["--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert all(f"lengthgen bench {kind}" in out for kind in command.KINDS)


# Decoding


def test_decoding_is_measured_beside_its_formulas(monkeypatch, tmp_path, capsys):
    jobs = []

    def run(job, where, threads):
        jobs.append(job)
        return {"base": 2**20, "peak": 3 * 2**20, "seconds": 1.0, "cache": 2**19, "status": "ok"}

    monkeypatch.setattr(decode.memory, "run", run)
    arms = "rope,rope+streaming_llm:sinks=2:window=4,rope+dynamic_ntk,alibi"
    words = ["--lengths=6,12", "--batches=1,2", "--new=3", f"--schemes={arms}"]
    assert main.main(["bench", "decode", *TINY, *words, "--out", str(tmp_path)]) == 0
    assert "dynamic_ntk reads every token by how long" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "decode.csv").read_text().splitlines()))
    assert len(rows) == 4 * 4 and len(jobs) == 3 * 4
    by_case = {(row["candidate"], row["tokens"], row["batch"]): row for row in rows}
    assert by_case["rope+dynamic_ntk", "6", "1"]["status"] == "refused"
    rope, streaming = (by_case[name, "12", "2"] for name in ("rope", arms.split(",")[1]))
    # 2 texts, 12 tokens, keys and values of a layer of width 16; 6 tokens and 2 sinks besides.
    assert float(rope["cache_mib"]) * 2**20 == 2 * 12 * 2 * 16 * 4
    assert float(streaming["cache_mib"]) * 2**20 == 2 * 4 * 16 * (2 * 6 + 2)
    assert float(rope["above_mib"]) == 2 and float(rope["cache_measured_mib"]) == 0.5
    assert float(rope["of_first"]) == 1 and float(streaming["of_first"]) > 0
    assert float(rope["decode_tokens_per_second"]) > 0 and float(rope["prefill_ms"]) > 0
    assert (tmp_path / "decode.svg").is_file()
    samples = (tmp_path / "decode-samples.csv").read_text()
    assert samples.count("decode L12 B2") == 2 * 2 * 3


def test_the_process_that_measures_a_prefill_counts_the_caches_bytes():
    job = dataclasses.asdict(HERE) | {
        "case": "prefill", "arm": "rope+rerope:window=5", "shape": dataclasses.asdict(SMALL),
        "batch": 2, "tokens": 24, "device": "cpu", "threads": 1,
    }  # fmt: skip
    result = child._prefill(job)
    assert result["cache"] == 2 * 2 * 64 * 4 * (2 * 24 + 5)
    assert result["peak"] >= result["base"] > 0


@pytest.mark.parametrize(
    ("arm", "words"),
    [
        ("rope+nonsense", "retrofit 'nonsense' has no code"),
        ("rope+yarn:4", "'4' is no option; expected KEY=VALUE"),
        ("rope+yarn:facto=4", "facto"),
        ("alibi+yarn", "retrofit yarn changes frequencies of rotary pairs"),
    ],
)
def test_other_candidates_are_refused_in_one_line(arm, words, capsys):
    assert main.main(["bench", "decode", *TINY, f"--schemes={arm}"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert words in lines[-1]


@pytest.mark.parametrize("text", ["5,x", "0", "", "1,,2"])
def test_lengths_are_positive_integers(text, capsys):
    with pytest.raises((SystemExit, ConfigError)):
        command.parser().parse_args(["decode", f"--lengths={text}"])
