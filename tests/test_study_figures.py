"""Figures of studies: what a panel holds, thresholds and floors drawn, and marks by verdict."""

import math

import pytest
from matplotlib.patches import Rectangle

from lengthgen.reporting.figures import drawing
from lengthgen.studies import claim_rows, claims_figure, figure, lines, page, panels
from lengthgen.studies.parts import Figure


def row(subject: str, length: int, value: float = 1.0, **given) -> dict:
    fine = {
        "subject": subject, "scheme": subject.partition("+")[0], "dataset": "text",
        "train_length": 16, "tokens": 1000, "protocol": "matched", "eval_length": length,
        "measure": "loss", "value": value, "low": value - 0.1, "high": value + 0.1,
        "status": "ok", "n_seeds": 3, "n_documents": 9,
    }  # fmt: skip
    return fine | given


def rows(*subjects: str, **given) -> list[dict]:
    return [row(name, length, **given) for name in subjects for length in (16, 32)]


def claim(**given) -> dict:
    fine = {
        "name": "c", "claim": "it is so", "primary": True, "check": False, "measure": "loss",
        "subject": "alibi", "baseline": "", "length_factor": 2.0, "protocol": "",
        "predict": "below 0.5", "value": 0.2, "low": 0.1, "high": 0.3, "p": 0.01,
        "verdict": "supported", "reason": "", "n_seeds": 3,
    }  # fmt: skip
    return fine | given


def titles(split) -> list[str]:
    return [panel.title.partition(";")[0] for panel in split]


def test_many_conditions_are_small_multiples_of_an_arm_each():
    few = rows("alibi", "rope", "rope+yarn")
    assert titles(panels.split(few, Figure())) == ["text, trained at 16"]
    many = rows("alibi", "rope", *(f"rope+r{i}" for i in range(8)))
    split = panels.split(many, Figure())
    assert titles(split) == ["as trained", "rope (1 of 2)", "rope (2 of 2)"]
    drawn = {one["subject"] for panel in split for one in panel.rows}
    assert drawn == {one["subject"] for one in many}  # every condition is shown
    for panel in split[1:]:
        assert "rope" in {one["subject"] for one in panel.rows}


def test_panels_by_protocol_condition_and_length():
    protocols = ("matched", "nonoverlapping", "last_k")
    several = [one for name in protocols for one in rows("alibi", "rope", protocol=name)]
    assert titles(panels.split(several, Figure(panels="protocol"))) == list(protocols)
    assert len(panels.split(several, Figure())[0].rows) == 4  # matched alone
    chosen = panels.split(several, Figure(panels="protocol", protocols=["last_k"], arms=["rope"]))
    assert [{one["subject"] for one in panel.rows} for panel in chosen] == [{"rope"}]
    conditions = panels.split(rows("rope", "rope+yarn"), Figure(panels="condition"))
    assert titles(conditions) == ["as trained", "yarn"]
    none = panels.split(rows("rope", "rope+yarn"), Figure(conditions=["none"]))
    assert {one["subject"] for one in none[0].rows} == {"rope"}
    change = [
        row(name, length, measure="change", tokens=tokens)
        for name, tokens in (("rope+at_10", 10), ("rope+at_20", 20), ("rope", 40))
        for length in (16, 20, 32)
    ]
    split = panels.split(change, Figure(show="change", axis="tokens"))
    assert [panel.title for panel in split] == [
        "text, trained at 16, evaluated at 1.25 L", "text, trained at 16, evaluated at 2 L"
    ]  # fmt: skip
    of_lines = panels.of_lines(split[0], "tokens")
    assert [point[0] for point in of_lines["rope"]] == [10, 20, 40]


def test_corpora_of_an_arm_are_one_line_in_a_panel_for_each_length():
    sizes = [
        row(f"text_alibi_{size}", length, size / 10, corpus=1000.0 * size)
        for size in (30, 300) for length in (8, 16, 32)
    ]  # fmt: skip
    split = panels.split(sizes, Figure(axis="corpus"))
    assert [panel.title for panel in split] == [
        "text, trained at 16", "text, trained at 16, evaluated at 2 L"
    ]  # fmt: skip
    points = panels.of_lines(split[1], "corpus")
    assert [point[:2] for point in points["text_alibi"]] == [(30_000, 3.0), (300_000, 30.0)]
    with drawing.fixed_style():
        drawn = figure.draw("t", "d", sizes, Figure(axis="corpus"))
    assert drawn.axes[1].get_xlabel() == "tokens of the corpus (logarithmic)"


def test_thresholds_and_floors_are_in_the_panel_and_on_its_axis():
    noted = [row("alibi", length, 9.0, measure="bigram") for length in (16, 32)]
    claims = [
        claim(predict="within 0.5"), claim(subject="other"), claim(measure="change"),
        claim(baseline="rope"), claim(protocol="sliding"),
    ]  # fmt: skip
    (panel,) = panels.split([*rows("alibi"), *noted], Figure(), claims)
    assert panel.thresholds == [(32.0, 0.5), (32.0, -0.5)]
    with drawing.fixed_style():
        drawn = figure.draw("t", "d", [*rows("alibi"), *noted], Figure(), claims)
    low, high = drawn.axes[0].get_ylim()
    assert low < -0.5 and high > 9.0
    texts = {text.get_text() for text in drawn.axes[0].texts}
    assert {"bigram table", "alibi"} <= texts


def test_a_band_ends_at_the_exact_floor_and_a_logarithmic_axis_says_so():
    wide = [row("a", n, v, measure="excess", low=-3.0, high=4.0) for n, v in ((16, 0.01), (32, 3))]
    with drawing.fixed_style():
        drawn = figure.draw("t", "d", wide, Figure(show="excess"))
    axes = drawn.axes[0]
    assert "logarithmic beyond 0.02" in axes.get_ylabel() and axes.get_yscale() == "symlog"
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == 0.0 and band.max() == 4.0
    assert axes.get_ylim()[0] > -0.02
    with drawing.fixed_style():
        narrow = figure.draw("t", "d", rows("a", measure="excess"), Figure(show="excess"))
    assert narrow.axes[0].get_ylabel() == "excess (nats/token)"


def test_lines_of_a_panel_differ_without_colours():
    schemes = {"rope": "rope"} | {f"rope+{i}": "rope" for i in range(6)}
    styles = lines.styles(schemes, ["rope"])
    assert len({(style.marker, style.line) for style in styles.values()}) == 7
    assert len({style.colour for style in styles.values()}) == 7


def test_the_figure_of_claims_has_every_claim_with_its_number_threshold_and_word():
    given = [
        claim(claim="a small one", value=0.0021, low=0.001, high=0.0032, predict="within 0.005"),
        claim(claim="a large one", value=2.31, low=1.9, high=2.7, verdict="refuted"),
        claim(claim="an open one", primary=False, verdict="undecided", low=math.nan),
        claim(claim="no gate", verdict="not answerable", reason="the text shows no use"),
        claim(claim="an identity", primary=False, check=True, measure="gradient"),
        claim(claim="nothing known", primary=False, value=math.nan, low=math.nan, high=math.nan),
    ]
    with drawing.fixed_style():
        drawn = claims_figure.draw("title", "details", given)
    texts = "\n".join(text.get_text() for text in drawn.axes[0].texts)
    for said in (
        "a small one", "a large one", "found 2.31 [1.90, 2.70]", "found 0.0021 [0.0010, 0.0032]",
        "predicted within ±0.005 nats", "predicted below 0.5 nats", "not answerable",
        "the text shows no use", "no number", "Primary claims", "Exploratory claims",
        "Checks of the instrument: never counted", "refuted", "undecided",
    ):  # fmt: skip
        assert said in texts
    bands = [patch for patch in drawn.axes[0].patches if isinstance(patch, Rectangle)]
    assert len(bands) == len(given) + 1  # and the legend's


@pytest.mark.parametrize(
    ("numbers", "scale"),
    [((0.19, 0.1, 0.3), 0.5), ((1.99, 1.0, 2.5), 5), ((0.0021, 0.001, 0.0032), 0.5)],
)
def test_the_scale_of_a_row_holds_all_that_it_shows(numbers, scale):
    given = claim(**dict(zip(("value", "low", "high"), numbers, strict=True)), predict="above 0.3")
    assert claim_rows.scale(given) == scale
    grid = given | {"common_verdict": "refuted", "common_value": 30.0}
    grid |= {"common_low": 20.0, "common_high": 40.0}
    assert claim_rows.scale(grid) == 50


def test_a_study_may_ask_for_several_figures():
    about = {"show": "excess", "axis": "length"}
    assert list(page.figures(about)) == ["values"]
    asked = page.figures(about | {"figures": [{"show": "loss"}, {"panels": "protocol"}]})
    assert list(asked) == ["values", "values_2"] and asked["values_2"].panels == "protocol"
