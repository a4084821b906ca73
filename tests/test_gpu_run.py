"""scripts/gpu_run: steps that fail or take too long, continuing, archives, merging, commands."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from lengthgen import compose
from lengthgen.bench import command as bench
from lengthgen.cli import main as cli
from lengthgen.config import catalogue
from lengthgen.runs import train_config

from .fake_runs import write_run

SCRIPTS = Path(__file__).parent.parent / "scripts"
sys.path.insert(0, str(SCRIPTS))
sys.path.insert(0, str(SCRIPTS / "gpu"))  # where facts, compare and others are started
import compare  # noqa: E402
from gpu import archives, command, merge, running, steps  # noqa: E402

COMMIT = "0123456789" * 4
TEXT = ("dataset=files", "dataset.path=text", "dataset.label=books")


def python(code, name="step", seconds=20.0, **how):
    return running.Step(name, seconds, [[sys.executable, "-c", code]], **how)


def count(name):
    """A step that leaves one line more in the file `name` each time that it runs."""
    return python(f"open({name!r}, 'a').write('x')", name)


def run(planned, tmp_path, budget=100.0):
    return running.run_all(planned, tmp_path / "A", tmp_path, {}, budget)


# Steps


def test_a_failure_is_reported_and_the_next_step_is_tried(tmp_path, capsys):
    planned = [count("first"), python("print('oh'); raise SystemExit(3)", "bad"), count("last")]
    assert not run(planned, tmp_path)
    printed = capsys.readouterr().out
    assert "FAILED, exit code 3" in printed and "oh" in printed
    assert "2 of 3 steps done; still to do: bad" in printed
    assert json.loads((tmp_path / "A" / "bad.failed").read_text())["reason"] == "exit code 3"
    planned[1] = count("bad")  # mended
    assert run(planned, tmp_path)
    assert not (tmp_path / "A" / "bad.failed").exists()
    assert [(tmp_path / name).read_text() for name in ("first", "bad", "last")] == ["x"] * 3


def test_commands_run_in_turn_until_one_fails(tmp_path):
    words = ["open('a', 'w')", "raise SystemExit(1)", "open('b', 'w')"]
    planned = running.Step("turns", 20, [[sys.executable, "-c", code] for code in words])
    assert not run([planned], tmp_path)
    assert (tmp_path / "a").exists() and not (tmp_path / "b").exists()


STUBBORN = """
import signal, subprocess, sys, time
def stop(*_):
    open("asked", "w")
    if not {ignores}: sys.exit(143)
signal.signal(signal.SIGTERM, stop)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open("child", "w").write(str(child.pid))
while True: time.sleep(0.05)
"""


@pytest.mark.parametrize("ignores", [False, True])
def test_at_the_time_limit_a_command_is_asked_and_then_ended(tmp_path, monkeypatch, ignores):
    monkeypatch.setattr(running, "GRACE", 0.5)
    slow = python(STUBBORN.format(ignores=ignores), "slow", seconds=1.5)
    assert not run([slow, count("next")], tmp_path)
    assert json.loads((tmp_path / "A" / "slow.failed").read_text())["reason"] == "its time limit"
    assert (tmp_path / "asked").exists() and (tmp_path / "next").exists()
    child = int((tmp_path / "child").read_text())
    state = Path(f"/proc/{child}/stat")  # gone, or ended and not yet waited for
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


def test_commands_side_by_side_meet_each_other(tmp_path):
    commands = [[sys.executable, "-c", CODE_OF_A_PAIR, *names] for names in ("ab", "ba")]
    assert run([running.Step("both", 20, commands, together=True)], tmp_path)


def test_a_step_is_not_begun_with_too_little_time_unless_it_resumes(tmp_path, capsys):
    short = running.GRACE + running.PACKING + 16
    assert not run([python("", "long", seconds=100)], tmp_path, short)
    assert "not tried" in capsys.readouterr().out
    assert not list((tmp_path / "A").glob("long.*"))
    assert run([python("", "long", seconds=100, resumes=True)], tmp_path, short)


CODE_OF_A_PAIR = (
    "import pathlib, sys, time\npathlib.Path(sys.argv[1]).touch()\n"
    "while not pathlib.Path(sys.argv[2]).exists(): time.sleep(0.01)"
)


def pair(name, one, other, **how):
    """A step that ends when the file `other` exists, having made the file `one`."""
    return running.Step(name, 20, [[sys.executable, "-c", CODE_OF_A_PAIR, one, other]], **how)


def test_steps_side_by_side_meet_each_other_and_the_next_waits_for_them(tmp_path):
    failing = python("raise SystemExit(1)", "bad", beside=True)
    last = python("import os; assert os.path.exists('a') and os.path.exists('b')", "last")
    assert not run(
        [pair("one", "a", "b"), pair("two", "b", "a", beside=True), failing, last], tmp_path
    )
    done = {path.name for path in (tmp_path / "A").glob("*.done")}
    assert done == {"one.done", "two.done", "last.done"}
    assert run([pair("one", "a", "b"), python("", "bad", beside=True)], tmp_path)


# Archives


def test_archives_are_small_and_hold_what_is_worth_keeping(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "LIMIT", 20_000)
    folder = tmp_path / "out"
    kept = {f"results/runs/r{i}/losses.npz": bytes(8000) for i in range(5)}
    left = {"cache/store": b"", "results/runs/r0/checkpoints/state.pt": b"", "site/x.py": b""}
    for name, content in {**kept, **left, "A/facts.json": b"{}", ".lock": b""}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "text").symlink_to(SCRIPTS)
    written = archives.pack(folder, folder / "archives")
    assert len(written) == 3
    names = []
    for path in written:
        with tarfile.open(path) as archive:
            names += archive.getnames()
    assert sorted(names) == sorted([*kept, "A/facts.json"])
    before = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in archives.pack(folder, folder / "archives")] == before
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path in written:
        (elsewhere / path.name).write_bytes(path.read_bytes())
    assert archives.unpack(elsewhere) == 3
    assert (elsewhere / "results/runs/r4/losses.npz").read_bytes() == bytes(8000)


# Merging


@pytest.fixture
def returned(tmp_path):
    """What came back: two whole seeds and a part of a third, a benchmark, a failed step."""
    out = tmp_path / "out"
    for seed, schemes in ((0, ("none", "alibi")), (1, ("none", "alibi")), (2, ("none",))):
        for scheme in schemes:
            folder = write_run(out / "results", scheme, seed, model="small", dataset="books")
            (folder / "checkpoints").mkdir()
    (out / "B" / "eager").mkdir(parents=True)
    (out / "B" / "eager" / "train.csv").write_text("a\n1\n")
    outcome = {"seconds": 1.0, "reason": "exit code 1", "commit": COMMIT}
    outcome["commands"] = ["/usr/bin/python -m lengthgen bench train --out B/eager"]
    (out / "B" / "eager.failed").write_text(json.dumps(outcome))
    (out / "about.json").write_text(json.dumps({"dry_run": False, "commits": [COMMIT]}))
    return out


def test_merge_copies_and_publishes_whole_seeds(returned, tmp_path):
    results = tmp_path / "results"
    written = merge.merge(returned, results, tiny=False)
    assert results / "gpu_small_512" in written
    note = json.loads((results / "gpu_small_512" / "provenance.json").read_text())
    assert note["seeds"] == [0, 1] and len(note["runs"]) == 4
    assert (results / "gpu_small_512" / "loss_by_length.svg").exists()
    assert len(list((results / "runs").iterdir())) == 5
    assert not list(results.glob("runs/*/checkpoints"))
    assert (results / "gpu_bench" / "eager" / "train.csv").read_text() == "a\n1\n"
    page = (results / "gpu_bench" / "steps.md").read_text()
    assert "| eager | failed: exit code 1 | 1.0 | 012345678 | `python -m lengthgen" in page


def test_a_rehearsal_is_never_published(returned, tmp_path, capsys):
    (returned / "about.json").write_text(json.dumps({"dry_run": True, "commits": [COMMIT]}))
    results = tmp_path / "results"
    words = ["merge", "--out", str(returned), "--results", str(results)]
    assert command.main(words, "") == 2
    assert "rehearsal" in capsys.readouterr().err and not results.exists()
    assert command.main([*words, "--dry-run"], "") == 0
    assert (returned / "merged" / "gpu_small_512").is_dir() and not results.exists()


def test_without_a_whole_seed_all_seeds_are_published():
    rows = [{"seed": "0", "scheme": "none"}, {"seed": "1", "scheme": "alibi"}]
    assert merge.whole_seeds(rows) == (["0", "1"], ["alibi", "none"])
    assert merge.whole_seeds([*rows, {"seed": "1", "scheme": "none"}])[0] == ["1"]


# The command


@pytest.mark.parametrize("name", ["../out.txt", "/out.txt", "link"])
def test_an_archive_with_what_was_not_packed_is_refused(tmp_path, name):
    (tmp_path / "in").mkdir()
    with tarfile.open(tmp_path / "in" / "part-1.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo(name)
        if name == "link":
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(member)
    with pytest.raises(ValueError, match="holds what was not packed"):
        archives.unpack(tmp_path / "in")
    assert [path.name for path in tmp_path.rglob("*")] == ["in", "part-1.tar.gz"]


def test_a_cut_part_goes_on_from_its_archives_on_another_machine(tmp_path, monkeypatch):
    planned = [count("one"), python("raise SystemExit(1)", "two")]
    monkeypatch.setattr(steps, "of_part", lambda part, place: planned)
    first, second = tmp_path / "first", tmp_path / "second"
    assert command.main(["A", "--out", str(first), "--commit", COMMIT], "") == 1
    second.mkdir()
    (first / "archives").rename(second / "archives")
    planned[1] = count("two")
    assert command.main(["A", "--out", str(second), "--commit", "f" * 40], "") == 0
    assert (second / "one").read_text() == (second / "two").read_text() == "x"
    assert json.loads((second / "about.json").read_text())["commits"] == [COMMIT, "f" * 40]
    assert json.loads((second / "A" / "one.done").read_text())["commit"] == COMMIT


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["A", "--commit", "abc"], "give --commit HASH"),
        (["C", "--commit", COMMIT], "part C needs --text FOLDER"),
        (["A", "--commit", COMMIT, "--text", "nowhere"], "is no folder"),
        (["A", "--commit", COMMIT, "--wheels", "nowhere"], "holds no .whl"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, capsys, words, expected):
    assert command.main([*words, "--out", str(tmp_path / "out")], "") == 2
    error = capsys.readouterr().err
    assert expected in error and error.count("\n") == 1


def test_a_rehearsal_and_a_real_call_do_not_share_a_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(steps, "of_part", lambda part, place: [])
    words = ["A", "--out", str(tmp_path / "out"), "--commit", COMMIT]
    assert command.main([*words, "--dry-run"], "") == 0
    assert command.main(words, "") == 2
    assert "is a rehearsal" in capsys.readouterr().err


@pytest.mark.parametrize("tiny", [False, True])
@pytest.mark.parametrize("part", steps.BUDGETS)
def test_every_command_of_a_part_is_accepted(part, tiny, monkeypatch):
    """Those for a GPU too, which a rehearsal does not run."""
    planned = steps.of_part(part, steps.Place(tiny, TEXT))
    assert len({step.name for step in planned}) == len(planned)
    words = [c[3:] for step in planned for c in step.commands if c[1:3] == ["-m", "lengthgen"]]
    assert words
    swept = set()
    for what, *rest in words:
        if what == "bench":
            bench.parser().parse_args(rest)
            continue
        if part == "D":  # the model is read by none of this
            assert cli.main([what, *first_of(rest), "--cfg", "job", "--resolve"]) == 0
            continue
        for overrides in jobs_of(rest):
            # Not CUDA here: the words of the configuration are what is tried.
            settings = train_config.check(dict(compose(overrides)), []).settings
            swept.add((settings.seed, overrides[-1]) if "-m" in rest else None)
    if part == "C":
        n_seeds = 2 if tiny else 3
        assert len(swept - {None}) == n_seeds * len(steps.SCHEMES)
    scripts = [Path(c[1]) for step in planned for c in step.commands if c[1].endswith(".py")]
    assert all(script.exists() for script in scripts)


def first_of(words):
    """The overrides of the first job of a sweep of retrofits."""
    return [
        word.partition(",")[0] if "retrofit" in word else word for word in words if word != "-m"
    ]


def jobs_of(words):
    """The overrides of each job of a sweep, its scheme last."""
    words = [word for word in words if word != "-m"]
    swept = {"scheme": [""], "seed": [""]}
    for word in list(words):
        key, _, values = word.partition("=")
        if key in swept and "," in values:
            swept[key] = [f"{key}={value}" for value in values.split(",")]
            words.remove(word)
    return [
        [*words, *filter(None, [seed, scheme])]
        for seed in swept["seed"]
        for scheme in swept["scheme"]
    ]


def test_the_processes_of_part_c_share_the_schemes_and_seeds_come_first():
    together = [name for names in steps.TOGETHER for name in names.split(",")]
    assert sorted(together) == sorted(steps.SCHEMES)
    assert set(together) <= set(catalogue.options("scheme", [catalogue.folder()]))
    sweeps = steps.of_part("C", steps.Place(False, TEXT))[-1].commands
    for sweep in sweeps:
        names = [word.partition("=")[0] for word in sweep]
        assert names.index("seed") < names.index("scheme")


# Comparing two runs


def finished(results, losses, weights="same"):
    folder = results / "runs" / "run"
    folder.mkdir(parents=True)
    rows = [{"step": i + 1, "train/loss": loss} for i, loss in enumerate(losses)]
    rows.append({"step": len(losses), "validation/loss": 1.0})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "done.json").write_text(json.dumps({"weights_sha256": weights}))
    return results


@pytest.mark.parametrize(
    ("losses", "code"),
    [
        ([5.0] * 30, 0),
        ([5.000009] * 8 + [5.5] * 22, 0),  # later ones may differ
        ([5.0] * 7 + [5.000011] + [5.0] * 22, 1),
        ([float("nan")] * 30, 1),
        ([5.0] * 29, 1),
    ],
)
def test_the_first_losses_have_to_agree(tmp_path, losses, code):
    one, other = finished(tmp_path / "a", [5.0] * 30), finished(tmp_path / "b", losses)
    assert compare.main(str(one), str(other), str(tmp_path / "file.json")) == code
    assert (tmp_path / "file.json").exists()


# The whole of it, at tiny sizes


@pytest.mark.slow
def test_a_rehearsal_does_everything_once(tmp_path):
    out = tmp_path / "out"

    def gpu_run(part, *words):
        run = [sys.executable, str(SCRIPTS / "gpu_run"), part, "--out", str(out), *words]
        return subprocess.run(run, capture_output=True, text=True)

    for part in ("A", "B", "C"):  # D reads a real model
        done = gpu_run(part, "--dry-run")
        assert done.returncode == 0, done.stdout + done.stderr
        again = gpu_run(part, "--dry-run")
        n_steps = len(steps.of_part(part, steps.Place(True, TEXT)))
        assert again.returncode == 0 and again.stdout.count("already done") == n_steps
    assert gpu_run("merge").returncode == 2
    merged = gpu_run("merge", "--dry-run")
    assert merged.returncode == 0, merged.stderr
    note = json.loads((out / "merged" / "gpu_nano_32" / "provenance.json").read_text())
    assert note["seeds"] == [0, 1] and len(note["runs"]) == 2 * len(steps.SCHEMES)
    local = [str(tmp_path), str(SCRIPTS.parent)]
    for page in [*out.glob("merged/gpu_*/*.md"), *out.glob("merged/gpu_*/*/*.json")]:
        assert not any(path in page.read_text() for path in local), page
    assert cli.main(["plot", "--results", str(out / "merged")]) == 0
