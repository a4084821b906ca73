"""The form of a learned bias over distances: planted curves, and a study's tables of them."""

import json
import math

import numpy as np
import pytest

from lengthgen import files
from lengthgen.statistics import curve_forms
from lengthgen.studies import bias_forms, bias_section, measures
from lengthgen.studies.losses import EvaluatedArm, EvaluatedRun, Material
from lengthgen.studies.measured import OfSeeds
from tests.study_cases import claim

N = 64
D = np.arange(N, dtype=float)
WEIGHTS = N - D
CURVES = {
    "linear": 3.0 - 0.1 * D,
    "log": 1.0 - 0.8 * np.log1p(D),
    "periodic": 0.5 + np.cos(2 * np.pi * D / 16 + 1.0),
}


@pytest.mark.parametrize("form", CURVES)
def test_a_planted_form_is_found_and_explains_all(form):
    shares = curve_forms.shares(CURVES[form], WEIGHTS)
    assert shares[form] == pytest.approx(1.0, abs=1e-6)
    others = [shares[other] for other in CURVES if other != form]
    assert max(others) < 0.9
    assert bias_forms.best(shares, 1.0) == form
    assert bias_forms.best(shares, 0.05) == "constant"


def test_what_any_falling_curve_explains():
    assert curve_forms.shares(CURVES["linear"], WEIGHTS)["decreasing"] == pytest.approx(1.0)
    assert curve_forms.shares(-CURVES["linear"], WEIGHTS)["decreasing"] == pytest.approx(
        0, abs=1e-9
    )
    comb = np.where(D % 5 == 0, 1.0, 0.0)
    assert curve_forms.shares(comb, WEIGHTS)["decreasing"] < 0.2
    steps = np.floor(-D / 8)
    assert curve_forms.shares(steps, WEIGHTS)["decreasing"] == pytest.approx(1.0)
    fitted = curve_forms.decreasing(np.array([1.0, 3.0, 2.0, 0.0]), np.array([1.0, 1.0, 2.0, 1.0]))
    assert fitted.tolist() == [2.0, 2.0, 2.0, 0.0]  # (1 + 3 + 2 x 2) / 4
    assert curve_forms.period(CURVES["periodic"], WEIGHTS) == 16


def test_noise_has_no_form_although_a_period_is_searched_for():
    found = [
        curve_forms.shares(np.random.default_rng(seed).normal(size=N), WEIGHTS)
        for seed in range(40)
    ]
    for form in CURVES:
        assert np.mean([one[form] for one in found]) < 0.02
    assert math.isnan(curve_forms.shares(np.ones(N), WEIGHTS)["linear"])


def planted(tmp_path, name: str, heads: list[np.ndarray]) -> EvaluatedArm:
    runs = []
    for seed in range(3):
        folder = tmp_path / "runs" / f"{name}-{seed}" / "evaluation" / "e"
        about = {"scheme": {"name": name}, "dataset": {"name": "text"}}
        config = {"train_length": N, "seed": seed} | about
        files.write_text(folder.parent.parent / "config.yaml", json.dumps(config))
        run = EvaluatedRun(folder)
        run.kept["bias"] = [("0", head, b + 0.001 * seed) for head, b in enumerate(heads)]
        runs.append(run)
    return EvaluatedArm(name, runs)


def test_heads_count_by_their_variance_and_constant_ones_for_nothing(tmp_path):
    strong, flat = planted(tmp_path, "strong", [5 * CURVES["log"], np.zeros(N)]), "flat"
    material = Material({"strong": strong, flat: planted(tmp_path, flat, [np.zeros(N)])})

    def value(measure: str, **given) -> float:
        one = claim(measure=measure, length_factor=None, **given)
        return measures.measure(material, one).bounds[0]

    assert value("bias_log", subject="strong") == pytest.approx(1.0, abs=1e-6)
    assert value("bias_log_over_linear", subject="strong") > 0.05
    assert value("bias_spread", subject="strong") > 1.0
    assert math.isnan(value("bias_log", subject="flat"))
    assert value("bias_spread", subject="strong", baseline="flat") == value(
        "bias_spread", subject="strong"
    )
    heads, curves = bias_forms.tables(material, ["strong", "flat"])
    assert [row["form"] for row in heads[:2]] == ["log", "constant"]
    assert {row["offset"] for row in curves} >= {0, 1, 31, N - 1}
    page = "\n".join(bias_section.lines(heads))
    assert "| strong |" in page and "| 1.00 |" in page


def test_one_number_a_seed_is_students_t():
    found = OfSeeds((0.5, 0.6, 0.7))
    value, low, high = found.bounds
    half = 4.302652729749464 * 0.1 / math.sqrt(3)  # t(2), 0.975
    assert (value, high - value, value - low) == pytest.approx((0.6, half, half))
    assert found.above(low) == pytest.approx(0.025) and found.below(high) == pytest.approx(0.025)
    assert found.within(0.9) < 0.05 < found.within(0.65) and found.counts == (3, 0)
    assert OfSeeds((0.5,)).above(0.0) == 1.0 and math.isnan(OfSeeds((0.5,)).bounds[1])


def test_the_bias_of_a_trained_model_is_that_of_its_scheme(tmp_path):
    from lengthgen import compose, train

    words = ["scheme=alibi", "model=nano", "train_length=16", "steps=1", "dataset=lag_copy"]
    words += ["evaluation=study", "evaluation.documents=2", "dataset.validation_documents=2"]
    words += ["dataset.train_documents=4", "dataset.document_length=128", "tracking=none"]
    config = compose([*words, f"cache={tmp_path / 'cache'}"], results=tmp_path)
    outcome = train(config, figures=False)
    (layers, head, bias), *others = bias_forms.of_run(EvaluatedRun(outcome.evaluation))
    assert len(others) == 3 and (layers, head) == ("0-1", 0)
    # Press et al. 2022: slopes 2^-2, 2^-4, 2^-6, 2^-8 of 4 heads.
    assert bias == pytest.approx(-0.25 * np.arange(16))
