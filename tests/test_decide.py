"""`lengthgen decide`: who beats whom is right where the answer is planted, and the command runs."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from lengthgen.cli import main
from lengthgen.decisions import cause, table
from lengthgen.decisions.costs import Cost, Timed
from lengthgen.runs import run
from lengthgen.statistics.paired import Paired

LENGTH = 64


class Planted:
    """A subject with a loss a document; enough of an EvaluatedArm for the table."""

    def __init__(self, losses):
        self.sums = 10 * np.asarray(losses, float)[None, None]
        self.evaluations = [SimpleNamespace(config={"pretrained": "hf:x"})]

    def total(self, protocol, length):
        assert (protocol, length) == ("matched", LENGTH)
        return Paired(self.sums, np.full(self.sums.shape[1:], 10.0))


def cost(ms=10.0, token=1.0, cache=4.0, spread=0.01):
    def timed(value):
        seconds = tuple(value / 1e3 * (1 + spread * part) for part in (-1, 0, 1))
        return Timed(seconds, tuple(each / 0.01 for each in seconds))

    return Cost(timed(ms), timed(token), 100.0, cache)


@pytest.fixture
def decided(monkeypatch):
    """(table, sentence) of subjects with these losses (means) and costs."""
    monkeypatch.setattr(table.words_table, "rows", lambda material: [])
    noise = np.random.default_rng(0).normal(0, 0.3, 24)

    def made(subjects, budget=table.Budget()):  # noqa: B008
        wiggle = np.random.default_rng(1)
        arms = {
            name: Planted(3 + mean + noise + wiggle.normal(0, 0.01, 24))
            for name, (mean, _) in subjects.items()
        }

        @dataclasses.dataclass
        class Material:
            subjects: dict

            def __getitem__(self, name):
                return self.subjects[name]

        material = Material(arms)
        costs = {LENGTH: {name: price for name, (_, price) in subjects.items()}}
        rows = table.rows(material, costs, budget)
        return {row["subject"]: row for row in rows}, table.recommendation(material, rows, budget)

    return made


def test_a_lower_loss_for_no_more_beats(decided):
    rows, sentence = decided({"rope": (1.0, cost()), "rope+yarn": (0.0, cost())})
    assert rows["rope"]["beaten_by"] == "rope+yarn" and rows["rope+yarn"]["beaten_by"] == ""
    assert sentence.startswith("At 64 tokens: rope+yarn, ") and "surely lower than" in sentence


def test_within_the_noise_nothing_beats_and_the_plain_model_stays(decided):
    rows, sentence = decided({"rope": (0.0, cost()), "rope+yarn": (-0.0005, cost())})
    assert not rows["rope"]["beaten_by"] and not rows["rope+yarn"]["beaten_by"]
    assert sentence.startswith("At 64 tokens: rope, ") and "no change to the model" in sentence


@pytest.mark.parametrize("dearer", [{"ms": 20.0}, {"token": 2.0}, {"cache": 8.0}])
def test_what_costs_more_does_not_beat(decided, dearer):
    rows, sentence = decided({"rope": (1.0, cost()), "rope+rerope": (0.0, cost(**dearer))})
    assert rows["rope"]["beaten_by"] == ""
    assert sentence.startswith("At 64 tokens: rope+rerope, ")


def test_times_that_overlap_are_equal(decided):
    rows, _ = decided({"rope": (1.0, cost(spread=0.2)), "rope+ntk": (0.0, cost(11, spread=0.2))})
    assert rows["rope"]["beaten_by"] == "rope+ntk"


def test_the_fastest_of_equals(decided):
    given = {
        "rope": (1.0, cost()),
        "rope+yarn": (0.0, cost(token=1.5)),
        "rope+ntk": (0.0, cost(token=1.2)),
    }
    _, sentence = decided(given)
    assert sentence.startswith("At 64 tokens: rope+ntk, ") and "the fastest of those" in sentence


def test_a_budget_decides_among_what_it_holds(decided):
    given = {
        "rope": (1.0, cost()),
        "rope+rerope": (0.0, cost(token=3.0)),
        "rope+streaming_llm": (0.5, cost(cache=1.0)),
    }
    rows, sentence = decided(given, table.Budget(token_ms=2.0, memory_mib=103))
    assert [row["within_budget"] for row in rows.values()] == [False, False, True]
    assert sentence.startswith("At 64 tokens: rope+streaming_llm, ")
    _, none = decided(given, table.Budget(memory_mib=50))
    assert "nothing that was evaluated holds the budget (50 MiB)" in none


def test_what_no_cache_serves_has_no_place_under_a_latency(decided):
    given = {
        "rope": (1.0, cost()),
        "rope+dynamic_ntk": (0.0, dataclasses.replace(cost(), token=None, cache_mib=None)),
    }
    rows, sentence = decided(given, table.Budget(token_ms=5.0))
    assert not rows["rope+dynamic_ntk"]["within_budget"]
    assert sentence.startswith("At 64 tokens: rope, ")


def test_the_command(ask, capsys):
    trained = run.train(
        ask(scheme="rope", evaluation__lengths=[16, 32, 48], evaluation__protocols=["matched"]),
        [],
        figures=False,
    )
    results = trained.folder.parents[1]
    for name in ("position_interpolation", "streaming_llm", "dynamic_ntk"):
        assert (
            main.main(
                ["evaluate", f"run={trained.run_id}", f"+retrofit={name}", f"results={results}",
                 "tracking=none", "evaluation.lengths=[16,32,48]", "evaluation.documents=4",
                 "evaluation.blocks=2", "evaluation.resamples=50",
                 "evaluation.protocols=[matched]", f"cache={results.parent.parent / 'cache'}"]
            )
            == 0
        )  # fmt: skip
    capsys.readouterr()
    given = ["decide", f"run={trained.run_id}", "--rounds", "2", "--new", "3", "--threads", "1"]
    assert main.main([*given, "--results", str(results)]) == 0
    told = capsys.readouterr().out
    folder = results / "decisions" / trained.run_id
    assert "At 48 tokens: " in told and str(folder) in told
    assert {path.name for path in folder.iterdir()} == {
        "decision.csv", "decision.json", "README.md",
    }  # fmt: skip
    lines = (folder / "decision.csv").read_text().splitlines()
    assert len(lines) == 1 + 4 * 3 and lines[0] == ",".join(table.COLUMNS)
    assert any("rope+dynamic_ntk" in line and "decoding with a cache" in line for line in lines)
    assert main.main([*given, "--results", str(results), "--lengths", "17"]) == 2
    assert "not evaluated; expected some of 16, 32, 48" in capsys.readouterr().err


def evaluated(ask, capsys, scheme, retrofits=(), **changed):
    """A trained run with evaluations of retrofits on the same targets."""
    words = {"evaluation__lengths": [16, 32, 48], "evaluation__protocols": ["matched"]}
    trained = run.train(ask(scheme=scheme, **words, **changed), [], figures=False)
    results = trained.folder.parents[1]
    for retrofit in retrofits:
        assert (
            main.main(
                ["evaluate", f"run={trained.run_id}", *retrofit, f"results={results}",
                 "tracking=none", "evaluation.lengths=[16,32,48]", "evaluation.documents=4",
                 "evaluation.blocks=2", "evaluation.resamples=50",
                 "evaluation.protocols=[matched]", f"cache={results.parent.parent / 'cache'}"]
            )
            == 0
        )  # fmt: skip
    capsys.readouterr()
    return trained, results


def decide(results, *words):
    given = ["decide", *words, "--rounds", "2", "--new", "3", "--threads", "1"]
    return main.main([*given, "--results", str(results)])


def test_several_runs_in_one_table(ask, capsys):
    """With the training that each takes; those of one label are told apart."""
    rope, results = evaluated(ask, capsys, "rope", [["+retrofit=ntk"]])
    alibi, _ = evaluated(ask, capsys, "alibi")
    longer, _ = evaluated(ask, capsys, "rope", steps=8)
    extended = run.train(
        ask(steps=2, train_length=32, evaluation__lengths=[16, 32, 48], evaluation__block=4,
            evaluation__block_spacing=16,
            evaluation__protocols=["matched"]) | {"from": rope.run_id}, [], figures=False,
    )  # fmt: skip
    runs = [f"run={each.run_id}" for each in (rope, alibi, longer)]
    assert decide(results, *runs) == 0
    told = capsys.readouterr().out
    folder = results / "decisions"
    (made,) = folder.iterdir()
    assert made.name.startswith(f"{rope.run_id}-and-2-")
    rows = (made / "decision.csv").read_text()
    for subject in ('"rope, 6 steps at 16"', "rope+ntk", "alibi", '"rope, 8 steps at 16"'):
        assert f"\n{subject}" in rows, subject
    assert "6 steps at 16" in told and "8 steps at 16" in told
    # Trained at another length its blocks are others by default; here they are the same.
    assert decide(results, runs[0], f"run={extended.run_id}") == 0
    assert "2 steps more at 32" in capsys.readouterr().out


def test_runs_on_other_targets_are_refused(ask, capsys):
    rope, results = evaluated(ask, capsys, "rope")
    other, _ = evaluated(ask, capsys, "alibi", evaluation__block=2)
    assert decide(results, f"run={rope.run_id}", f"run={other.run_id}") == 2
    assert "was not evaluated on the targets of" in capsys.readouterr().err


def test_the_cause_needs_four_evaluations_and_is_told(ask, capsys):
    rope, results = evaluated(ask, capsys, "rope", [["+retrofit=log_n"]])
    assert decide(results, f"run={rope.run_id}", "--cause") == 2
    told = capsys.readouterr().err
    assert "+retrofit=rerope retrofit.log_n=false; " in told and "+retrofit=log_n" not in told
    rest = [["+retrofit=rerope", "retrofit.log_n=false"], ["+retrofit=rerope"],
            ["+retrofit=hard_window"]]  # fmt: skip
    evaluated(ask, capsys, "rope", rest)
    assert decide(results, f"run={rope.run_id}", "--cause") == 0
    assert "against a window of the training length" in capsys.readouterr().out
    assert '"causes"' in (results / "decisions" / rope.run_id / "decision.json").read_text()


@pytest.mark.parametrize(
    ("positions", "spread", "both", "word"),
    [
        (0.9, 0.1, 0.95, "positions outside"),
        (0.1, 0.9, 0.95, "attention that spreads"),
        (0.3, 0.3, 0.9, "positions and the spread"),
        (0.9, 0.9, 0.95, "either mends it"),
        (0.1, 0.1, 0.2, "neither"),
        (None, None, None, "nothing"),
    ],
)
def test_the_cause_where_it_is_planted(positions, spread, both, word):
    chance = np.random.default_rng(0)
    documents = 3 + chance.normal(0, 0.3, 24)

    def made(share):
        """What of a nat is lost with this share given back."""
        mean = 0.0 if share is None else 1 - share
        return Planted(documents + mean + chance.normal(0, 0.01, 24))

    tried = {"positions": positions, "spread": spread, "both": both, "window": 1.0}
    plain = made(None if positions is None else 0.0)
    found = cause._at(LENGTH, plain, {name: made(share) for name, share in tried.items()})
    assert found.word.startswith(word)
    assert ("Given back" in str(found)) == (positions is not None)
