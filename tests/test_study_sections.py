"""Who is beaten at what cost, and the order of schemes beside published ones."""

import itertools
import json
import math

import pytest

from lengthgen import files
from lengthgen.errors import ConfigError
from lengthgen.reporting.figures import drawing
from lengthgen.studies import costs_figure, costs_section, declaration, frontier, orders, tables
from lengthgen.studies.losses import EvaluatedArm, EvaluatedRun, Material
from tests.study_cases import L, subject, write_mine

AT = {"matched/16": 1.0, "matched/32": 1.0}


def cost(name: str, time: float, spread: float = 0.02) -> dict:
    times = {"of_first": time, "of_first_low": time - spread, "of_first_high": time + spread}
    trained = {"of_trained": time, "low": time - spread, "high": time + spread}
    about = {"subject": name, "eval_length": 32, "milliseconds": time, "mib": 1.0, "rounds": 7}
    return about | times | trained


def arm(tmp_path, called: str, loss: float, noise: float = 0.01, **retrofit) -> EvaluatedArm:
    made = subject(tmp_path, called, AT | {"matched/32": loss}, noise=noise)
    for one in made.evaluations:
        config = {"train_length": L, "seed": one.seed, "model": {"width": 64, "n_layers": 2}}
        files.write_text(one.folder.parent.parent / "config.yaml", json.dumps(config))
        settings = files.read_json(one.folder / "settings.json") | {
            "origin": {"retrofit": retrofit}
        }
        files.write_json(one.folder / "settings.json", settings)
    return EvaluatedArm(called, [EvaluatedRun(one.folder) for one in made.evaluations])


def beaten(arms: dict[str, EvaluatedArm], times: dict[str, float]) -> dict[str, str]:
    costs = [cost(name, times.get(name, 1.0)) for name in arms]
    found = frontier.rows(Material(arms), costs)
    assert {row["eval_length"] for row in found} == {32}
    return {row["subject"]: row["beaten_by"] for row in found}


def test_a_surely_lower_loss_at_the_same_cost_beats(tmp_path):
    arms = {"good": arm(tmp_path, "good", 1.0), "bad": arm(tmp_path, "bad", 1.5)}
    assert beaten(arms, {}) == {"good": "", "bad": "good"}
    # Times whose rounds overlap are no difference; surely more time is a price.
    assert beaten(arms, {"good": 1.03})["bad"] == "good"
    assert beaten(arms, {"good": 1.2})["bad"] == ""


def test_nothing_is_beaten_within_the_noise(tmp_path):
    losses = {"one": 1.0, "other": 1.01}
    arms = {name: arm(tmp_path, name, loss, noise=1.0) for name, loss in losses.items()}
    assert beaten(arms, {}) == {"one": "", "other": ""}


def test_memory_is_what_has_to_be_kept(tmp_path):
    window = arm(tmp_path, "window", 1.5, name="hard_window", window=None)
    whole = arm(tmp_path, "whole", 1.0)
    # The better one keeps 32 keys, the window 16: it is a choice, not a defeat.
    assert beaten({"whole": whole, "window": window}, {})["window"] == ""
    good = arm(tmp_path, "good", 0.9, name="hard_window", window=None)
    assert beaten({"whole": whole, "good": good}, {})["whole"] == "good"
    kept = {
        name: frontier.keys(arm(tmp_path / name, name, 1.0, **options).evaluations[0], 32)
        for name, options in {
            "yarn": {"name": "yarn"}, "window": {"name": "hard_window", "window": 10},
            "infinite": {"name": "lm_infinite", "sinks": 3},
            "stream": {"name": "streaming_llm", "sinks": 4, "window": None}, "none": {},
        }.items()
    }  # fmt: skip
    assert kept == {"yarn": 32, "window": 10, "infinite": 19, "stream": 16, "none": 32}
    # 2 (keys and values) x 64 x 4 bytes x 32 keys x 2 layers
    assert frontier.mib(whole.evaluations[0], 32) == 2 * 64 * 4 * 32 * 2 / 2**20


def test_the_table_of_costs_has_intervals_and_marks_what_is_not_beaten(tmp_path):
    arms = {"good": arm(tmp_path, "good", 1.0), "bad": arm(tmp_path, "bad", 1.5)}
    costs = [cost(name, 1.0) for name in arms]
    table = costs_section.lines(costs, frontier.rows(Material(arms), costs), [])
    good, bad = (next(line for line in table if line.startswith(f"| {name} ")) for name in arms)
    assert good.count("**") == 2 and "**" not in bad and bad.count("[") == 2
    assert "| kept MiB |" in "\n".join(table) and "counted, not measured" in "\n".join(table)
    value = {"measure": "loss", "protocol": "matched", "status": "ok", "value": 1.0}
    value |= {"subject": "good", "eval_length": 32, "train_length": 16}
    older = "\n".join(costs_section.lines(costs, [], [value]))
    assert "**" not in older and "nothing is said about which row beats which" in older


def test_the_figure_of_costs_shows_every_row_and_who_is_beaten(tmp_path):
    arms = {"good": arm(tmp_path, "good", 1.0), "bad": arm(tmp_path, "bad", 1.5)}
    arms["good+log_n"] = arms["good"]
    costs = [cost(name, 1.0) for name in arms]
    with drawing.fixed_style():
        drawn = costs_figure.draw("title", costs, frontier.rows(Material(arms), costs))
    (axes,) = drawn.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["good", "bad", "+log_n"]
    points = [line for line in axes.lines if line.get_marker() == "o"]
    hollow = [point.get_markerfacecolor() == "white" for point in points]
    assert hollow == [False, True, False]
    texts = {text.get_text() for text in axes.texts}
    assert {"time", "kept MiB", "1.00 [0.98, 1.02]", "0.03"} <= texts


def test_kendalls_tau_and_its_exact_p_are_those_of_every_permutation():
    one = [1.0, 2.0, 3.0, 4.0, 5.0]

    def tau(other) -> float:
        pairs = list(itertools.combinations(range(5), 2))
        signs = [(one[i] - one[j]) * (other[i] - other[j]) for i, j in pairs]
        return sum(1 if sign > 0 else -1 for sign in signs) / len(pairs)

    everything = [tau(other) for other in itertools.permutations(one)]
    for other in ([1, 2, 3, 4, 5], [2, 1, 3, 5, 4], [5, 4, 3, 1, 2]):
        found, p = orders.kendall(one, other)
        assert found == pytest.approx(tau(other))
        as_great = sum(abs(each) >= abs(found) - 1e-9 for each in everything)
        assert p == pytest.approx(as_great / 120)
    assert math.isnan(orders.kendall([1.0, 1.0, 2.0], [1.0, 2.0, 3.0])[1])


def test_published_orders_beside_ours():
    def value(name: str, loss: float, protocol: str, length: int = 32) -> dict:
        about = {"measure": "loss", "status": "ok", "train_length": 16, "eval_length": length}
        return about | {"subject": name, "value": loss, "protocol": protocol}

    values = [
        *(value(name, loss, "matched") for name, loss in (("a", 3.0), ("b", 2.0), ("c", 1.0))),
        *(value(name, loss, "sliding") for name, loss in (("a", 1.0), ("b", 2.0), ("c", 3.0))),
    ]
    numbers = {"a": [9.0, 50.0], "b": [8.0, 40.0], "c": [7.0, 30.0], "d": [6.0, None]}
    paper = {"source": "a paper", "length_factors": [1, 2], "values": numbers}
    found = orders.rows([paper], values)
    assert [(row["protocol"], row["tau"]) for row in found] == [("matched", 1.0), ("sliding", -1.0)]
    assert found[0]["published"] == "a > b > c" and found[0]["n_schemes"] == 3
    said = "\n".join(orders.lines(found))
    assert "| **a paper**, at 2 L | a > b > c |" in said
    assert "| here, sliding | c > b > a | -1.00 | 0.33 |" in said
    old = {"source": "old", "length_factor": 2.0, "worst_first": ["a", "b", "c"]}
    assert orders.rows([old], values)[0]["tau"] == 1.0


def test_published_numbers_need_one_for_each_length(tmp_path):
    wrong = [{"source": "p", "length_factors": [1, 2], "values": {"a": [1.0]}}]
    with pytest.raises(ConfigError, match=r"values.a=\[1.0\]"):
        declaration.read(write_mine(tmp_path, published=wrong))


def test_a_condition_repairs_and_the_weights_of_an_earlier_step_do_not(tmp_path):
    conditions = {
        "fixed": {"overrides": ["retrofit=learned_rows"]},
        "at_5": {"overrides": ["at_step=5"]},
    }
    study = declaration.read(write_mine(tmp_path, conditions=conditions))
    far = {"matched/16": 1.0, "matched/32": 2.0}
    subjects = {
        name: subject(tmp_path, name, far | {"matched/32": loss}, noise=0.001)
        for name, loss in (("a", 2.0), ("a+fixed", 1.25), ("a+at_5", 1.0))
    }
    (row,) = tables.repairs(study, Material(subjects))
    assert (row["condition"], row["eval_length"]) == ("fixed", 32)
    assert row["recovered"] == pytest.approx(0.75, abs=0.01)
