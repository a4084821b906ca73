"""How far schemes are from a baseline, and where they cross along the size of the corpus."""

import json
import math
from types import SimpleNamespace

import pytest

from lengthgen import files
from lengthgen.errors import ConfigError
from lengthgen.reporting.figures import drawing
from lengthgen.studies import crossings, crossings_section, declaration, figure, study_folder
from lengthgen.studies.losses import EvaluatedArm, EvaluatedRun, Material
from lengthgen.studies.parts import Figure
from tests.study_cases import L, subject, write_mine

LOSSES = {  # (scheme, tokens of the corpus) -> loss at L, loss at 2 L
    ("alibi", 30_000): (1.0, 1.0),
    ("alibi", 3_000_000): (0.8, 0.8),
    ("t5_bias", 30_000): (1.1, 1.3),
    ("t5_bias", 3_000_000): (0.7, 0.9),
    ("rope", None): (0.6, 0.6),
}


def arm(tmp_path, name: str, scheme: str, corpus: int | None, losses: tuple) -> EvaluatedArm:
    at = dict(zip((f"matched/{L}", f"matched/{2 * L}"), losses, strict=True))
    made = subject(tmp_path, name, at)
    dataset = {"name": "text", "label": "words", "train_tokens": corpus}
    for one in made.evaluations:
        config = {"train_length": L, "seed": one.seed, "dataset": dataset}
        config["scheme"] = {"name": scheme}
        files.write_text(one.folder.parent.parent / "config.yaml", json.dumps(config))
    return EvaluatedArm(name, [EvaluatedRun(one.folder) for one in made.evaluations])


@pytest.fixture
def rows(tmp_path):
    arms = {}
    for (scheme, corpus), losses in LOSSES.items():
        name = f"{scheme}_{corpus}"
        arms[name] = arm(tmp_path, name, scheme, corpus, losses)
    study = SimpleNamespace(against=("alibi",), arms=arms)
    found = crossings.rows(study, Material(arms))
    path = tmp_path / "differences.csv"
    files.write_table(path, found, study_folder.DIFFERENCES)
    return study_folder.read(path)


def test_arms_are_compared_with_the_baseline_of_the_same_corpus(rows):
    found = {(row["subject"], row["eval_length"] // L): row["value"] for row in rows}
    assert found == {
        ("t5_bias_30000", 1): pytest.approx(0.1, abs=0.01),
        ("t5_bias_30000", 2): pytest.approx(0.3, abs=0.01),
        ("t5_bias_3000000", 1): pytest.approx(-0.1, abs=0.01),
        ("t5_bias_3000000", 2): pytest.approx(0.1, abs=0.01),
    }
    # The same documents are paired: their spread of 0.2 nats is not in the interval.
    assert all(row["high"] - row["low"] < 0.05 for row in rows)
    assert {row["n_seeds"] for row in rows} == {4}


def test_a_crossing_is_said_where_both_sides_are_sure(rows):
    text = "\n".join(crossings_section.lines(rows))
    crossed, behind = "**behind with 30k; ahead with 3M**", "behind with each"
    assert f"| t5_bias, words | {crossed} | {behind} |" in text
    assert "## Against alibi" in text and "| t5_bias, words, 30k tokens | 0.1" in text
    assert crossings_section.lines([]) == []


def test_an_interval_with_zero_in_it_decides_nothing():
    ends = [(10_000, 0.1, 0.2), (100_000, -0.1, 0.1), (1_000_000, 0.0, 0.2), (math.nan, 0.1, 0.3)]
    rows = [{"corpus": size, "low": low, "high": high} for size, low, high in ends]
    said = "behind with 10k; undecided with 100k to 1M; behind with all"
    assert crossings_section.crossing(rows) == said


def test_the_figure_has_a_panel_for_each_length_and_a_line_at_zero(rows):
    asked = Figure(show="difference", baseline="alibi", axis="corpus")
    with drawing.fixed_style():
        drawn = figure.draw("t", "d", crossings_section.drawn(rows, "alibi"), asked)
    assert len(drawn.axes) == 2
    assert drawn.axes[0].get_ylabel().startswith("loss minus alibi's (nats/token")
    assert any(list(line.get_ydata()) == [0, 0] for line in drawn.axes[0].lines)
    assert "evaluated at 2 L" in drawn.axes[1].texts[0].get_text()


def test_a_figure_of_differences_names_a_baseline_of_the_study(tmp_path):
    asked = [{"show": "difference", "baseline": "alibi", "axis": "corpus"}]
    study = declaration.read(write_mine(tmp_path, against=["alibi"], figures=asked))
    assert study.against == ("alibi",)
    for baseline in ("alibi", ""):
        asked[0]["baseline"] = baseline
        against = [] if baseline else ["alibi"]
        with pytest.raises(ConfigError, match=r"figures\.baseline"):
            declaration.read(write_mine(tmp_path, against=against, figures=asked))
