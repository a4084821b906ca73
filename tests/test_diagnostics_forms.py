"""Exposure, bias curves and phase coverage against closed forms and double loops."""

import math

import numpy as np
import pytest
import torch

from lengthgen import modifiers
from lengthgen.diagnostics import bias_curve, exposure, phase_coverage, reads
from lengthgen.schemes.t5_bias import bucket

from .diagnostics_cases import LONGEST, L, model_of, subject_of


def table(finding, name):
    return next(one.rows for one in finding.tables if one.name == name)


def entries(model, **changes):
    """Rows of the exposure of a model, by (parameter, index)."""
    rows = table(exposure.measure(subject_of(model, **changes)), "exposure")
    return {
        (row["parameter"], row["index"], row["first"] if not row["parameter"] else None): row
        for row in rows
    }


# exposure


def test_offsets_are_counted_as_a_double_loop_does():
    found = entries(model_of("per_offset"))
    counts = {}
    for i in range(L):
        for j in range(i + 1):
            counts[i - j] = counts.get(i - j, 0) + 1
    for head in range(2):
        for offset, pairs in counts.items():
            row = found["table", f"0.{head}.{offset}", None]
            assert (row["terms"], row["first"], row["last"], row["by"]) == (
                pairs,
                offset,
                offset,
                "offset",
            )
            assert row["share"] == pytest.approx(pairs / (L * (L + 1) / 2))
    assert found["table", f"0.0.{L - 1}", None]["terms"] == 1
    assert len(found) == 2 * L  # the clamped tail reads the last entry: no offset reads nothing


def test_buckets_are_counted_as_a_double_loop_does():
    found = entries(model_of("t5_bias", {"num_buckets": 8, "max_distance": 12}))
    counts = [0] * 8
    for i in range(L):
        for j in range(i + 1):
            counts[int(bucket(torch.tensor([i - j]), 8, 12))] += 1
    assert [found["table", f"0.1.{b}", None]["terms"] for b in range(8)] == counts


@pytest.mark.parametrize(("length", "share", "least"), [(512, 0.608, 497), (1024, 0.792, 1009)])
def test_the_last_bucket_of_t5(length, share, least):
    buckets = {"num_buckets": 32, "max_distance": 128}
    model = model_of("t5_bias", buckets, train_length=length, n_heads=1, width=16, n_layers=1)
    found = entries(model, longest=length + 4, documents=1, n_read=1)
    last, rarest = found["table", "0.0.31", None], found["table", "0.0.15", None]
    assert round(last["share"], 3) == share and (last["first"], last["last"]) == (113, length - 1)
    assert rarest["terms"] == least == min(row["terms"] for row in found.values())


@pytest.mark.parametrize("tail", ["untrained", "clamp", "wrap"])
def test_rows_of_positions(tail):
    found = entries(model_of("learned", {"tail": tail}))
    for r in range(L):
        row = found["table", str(r), None]
        assert (row["by"], row["first"], row["last"], row["terms"]) == ("position", r, r, L - r)
    past = [row for row in found.values() if not row["parameter"]]
    if tail == "untrained":  # no gradient reaches what is read past the table
        assert [
            (row["first"], row["last"], row["terms"], row["moved"], row["reached"]) for row in past
        ] == [(L, LONGEST - 1, 0, 0, 0)]
    else:
        assert past == []
    said = exposure.measure(subject_of(model_of("learned", {"tail": tail}))).sentences
    named = f"Positions {L} to {LONGEST - 1} read no trained parameter: no gradient reached"
    assert (f"{named} what is there." in said) == (tail == "untrained")


def test_a_retrofit_that_repairs_is_seen():
    found = entries(model_of("learned"), retrofit="learned_rows", tail="clamp")
    assert len(found) == L and all(name for name, _, _ in found)


def test_a_window_takes_pairs_away():
    model = model_of("per_offset")
    kind = modifiers.load("window")
    model.scheme = kind(kind.Config(window=5), model.scheme).eval()
    found = entries(model)
    assert [found["inner.table", f"0.0.{D}", None]["terms"] for D in range(L)] == [
        L - D if D < 5 else 0 for D in range(L)
    ]
    assert [found["inner.table", f"0.0.{D}", None]["reached"] for D in range(L)] == [
        int(D < 5) for D in range(L)
    ]


def test_movement_is_from_the_first_weights():
    model = model_of("per_offset", stir=0.0)
    with torch.no_grad():
        model.scheme.table[0, 1, 3] += 0.25
    found = entries(model)
    assert (
        found["table", "0.1.3", None]["moved"] == 0.25
        and sum(row["reached"] for row in found.values()) == 1
    )
    said = " ".join(exposure.measure(subject_of(model)).sentences)
    assert (
        f"No gradient reached {2 * L - 1} of the {2 * L} rows:"
        f" 0.0.0, 0.0.1, 0.0.2, 0.0.3, ..., 0.1.{L - 1}." in said
    )


def test_what_is_no_table_is_not_counted():
    rows = table(exposure.measure(subject_of(model_of("kerple_log"))), "exposure")
    assert {row["parameter"] for row in rows} == {"r1", "r2"} and {
        row["terms"] for row in rows
    } == {None}
    assert all(row["moved"] > 0 and row["reached"] for row in rows)


def test_random_positions_are_those_of_training():
    scheme = model_of("randomised", {"inner": "learned", "max_position": 64}).scheme
    found = reads.as_in_training(scheme, torch.zeros(5, L, dtype=torch.long))
    assert len(found) == 5 and not scheme.training
    assert reads.extent(found) >= L and max(int(one.max()) for one in found) < 64
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            found, reads.as_in_training(scheme, torch.zeros(5, L, dtype=torch.long)), strict=True
        )
    )
    assert (
        len(reads.as_in_training(model_of("learned").scheme, torch.zeros(5, L, dtype=torch.long)))
        == 1
    )


def test_untrained_share_as_a_double_loop():
    pairs = [i - j >= L for i in range(LONGEST) for j in range(i + 1)]
    found = exposure.untrained_share(LONGEST, L)
    assert found == {
        "pairs_untrained": pytest.approx(np.mean(pairs)),
        "queries_untrained": pytest.approx((LONGEST - L) / LONGEST),
    }
    assert exposure.untrained_share(L, L) == {"pairs_untrained": 0, "queries_untrained": 0}
    shares = [exposure.untrained_share(n, 512) for n in (768, 1024, 2048)]
    assert [round(one["pairs_untrained"], 3) for one in shares] == [0.111, 0.25, 0.563]
    assert [round(one["queries_untrained"], 2) for one in shares] == [0.33, 0.5, 0.75]


@pytest.mark.parametrize(
    ("places", "found"),
    [([], []), ([4], [(4, 4)]), ([1, 2, 3, 7, 9, 10], [(1, 3), (7, 7), (9, 10)])],
)
def test_runs(places, found):
    assert exposure.ranges(places) == found


# bias_curve


def shapes(model, **changes):
    return table(bias_curve.measure(subject_of(model, **changes)), "bias_shape")


def test_alibi_is_a_line():
    for row in shapes(model_of("alibi")):
        assert row["r2_linear"] == pytest.approx(1.0) and row["r2_log"] < 0.95
        assert (
            row["slope_linear"] == pytest.approx(-(2.0 ** (-4 * (row["head"] + 1))))
            and row["course"] == "falling"
        )
        assert row["plateau"] == pytest.approx(row["slope_linear"] * (row["eval_length"] - 1))
        assert row["layers"] == "0-1"


def test_kerple_is_a_logarithm():
    model = model_of("kerple_log")
    with torch.no_grad():
        model.scheme.r2.fill_(1.0), model.scheme.r1.fill_(1.5)
    for row in shapes(model):
        assert row["r2_log"] == pytest.approx(1.0, abs=1e-6) and row["slope_log"] == pytest.approx(
            -1.5, rel=1e-4
        )
        assert row["r2_linear"] < 0.95


def test_t5_is_constant_past_its_buckets():
    model = model_of("t5_bias", {"num_buckets": 8, "max_distance": 12})
    with torch.no_grad():
        model.scheme.table.copy_(torch.arange(8.0))
    start = model.scheme.last_bucket_start
    for row in shapes(model):
        assert row["course"] == "rising"
        if row["eval_length"] > start:
            assert (row["flat_from"], row["plateau"]) == (
                start,
                pytest.approx(7 * 16**0.5),
            )  # times sqrt(D)
    with torch.no_grad():
        model.scheme.table.fill_(2.0)
    for row in shapes(model):
        assert (row["course"], row["spread"], row["r2_linear"], row["flat_from"]) == (
            "constant",
            0,
            None,
            0,
        )
        assert row["tail_mass"] == pytest.approx(row["uniform_tail"]) and row[
            "effective_keys"
        ] == pytest.approx(row["eval_length"])


def line(slope, n=2048):
    return -slope * np.arange(n)


@pytest.mark.parametrize(
    ("curve", "mass"),
    [(line(2**-8), 0.135), (-np.log1p(np.arange(2048)), 0.169),
     (-2 * np.log1p(np.arange(2048)), 0.001), (line(0), 0.75),
     (np.where(np.arange(2048) < 113, 0.0, -3.0), 0.365)],
    ids=["alibi", "kerple 1", "kerple 2", "flat", "plateau"],
)  # fmt: skip
def test_tail_mass(curve, mass):
    assert bias_curve.curve_shape(curve, 512)["tail_mass"] == pytest.approx(mass, abs=0.0006)


@pytest.mark.parametrize(("slope", "keys"), [(1 / 2, 4.1), (1 / 16, 32), (1 / 256, 512)])
def test_effective_keys_of_a_line(slope, keys):
    found = bias_curve.curve_shape(line(slope, 8192), 512)
    assert found["effective_keys"] == pytest.approx(
        (1 + math.exp(-slope)) / (1 - math.exp(-slope)), rel=1e-6
    )
    assert found["effective_keys"] == pytest.approx(keys, rel=0.01)
    assert found["receptive_field"] == math.ceil(-math.log(0.01) / slope)  # 1 - e^(-s j) >= 0.99


def test_curves_are_what_attention_adds():
    model = model_of("fire")
    rows = table(bias_curve.measure(subject_of(model)), "bias_curve")
    block = model.scheme.rows(torch.arange(LONGEST), torch.arange(LONGEST), 1).detach()
    for row in (row for row in rows if row["layers"] == "1"):
        assert row["bias"] == pytest.approx(
            float(block[row["head"], -1, LONGEST - 1 - row["offset"]]), abs=1e-5
        )
        assert row["pairs"] == max(0, L - row["offset"])
    assert {row["offset"] for row in rows} >= {0, 1, L - 1, L, LONGEST - 1}


def test_a_retrofit_changes_the_curve():
    model = model_of("per_offset", {"scale_bias": False})
    with torch.no_grad():
        model.scheme.table.copy_(torch.arange(float(L)))
    rows = table(
        bias_curve.measure(subject_of(model, retrofit="tail_mean", average=4)), "bias_curve"
    )
    assert {row["bias"] for row in rows if row["offset"] >= L} == {3 * L / 4 - 2.5}


@pytest.mark.parametrize("name", ["none", "rope", "fox", "cope", "learned"])
def test_no_bias_is_a_reason(name):
    assert "no bias" in bias_curve.measure(subject_of(model_of(name))).skipped


# phase_coverage


@pytest.mark.parametrize(
    ("head_dim", "length", "unfinished", "critical"),
    [
        (64, 512, 16, 32),
        (64, 1024, 14, 36),
        (32, 512, 8, 16),
        (32, 1024, 7, 18),
        (128, 512, 33, 62),
        (128, 1024, 28, 72),
    ],
)
def test_pairs_that_never_complete_a_turn(head_dim, length, unfinished, critical):
    model = model_of("rope", train_length=length, n_heads=1, width=head_dim, n_layers=1)
    rows = table(
        phase_coverage.measure(subject_of(model, longest=4 * length, documents=1, n_read=1)),
        "phase_coverage",
    )
    assert len(rows) == head_dim // 2 and sum(not row["completes"] for row in rows) == unfinished
    assert sum(row["unseen"] for row in rows) == unfinished
    assert phase_coverage.critical_dimension(10000.0, head_dim, length) == critical
    for row in rows:
        assert row["wavelength"] == pytest.approx(
            2 * math.pi * 10000 ** (2 * row["pair"] / head_dim)
        )
        assert row["turns_trained"] == pytest.approx(length / row["wavelength"])
        assert row["turns_evaluated"] == pytest.approx(4 * length / row["wavelength"])


def test_interpolation_leaves_no_unseen_angles():
    rows = table(
        phase_coverage.measure(subject_of(model_of("rope"), retrofit="position_interpolation")),
        "phase_coverage",
    )
    assert sum(row["unseen"] for row in rows) == 0
    assert all(
        row["frequency_evaluated"] == pytest.approx(row["frequency"] * L / LONGEST) for row in rows
    )


def test_random_positions_complete_more_turns():
    plain, drawn = (
        table(phase_coverage.measure(subject_of(model_of(name, options))), "phase_coverage")
        for name, options in (("rope", {}), ("randomised", {"max_position": 16 * L}))
    )
    assert sum(row["completes"] for row in drawn) > sum(row["completes"] for row in plain)


def test_pairs_that_stand_still_come_to_no_angle():
    rows = table(phase_coverage.measure(subject_of(model_of("p_rope"))), "phase_coverage")
    still = [row for row in rows if row["frequency"] == 0]
    assert still and all(row["wavelength"] is None and not row["unseen"] for row in still)


@pytest.mark.parametrize("name", ["alibi", "learned", "none"])
def test_no_rotation_is_a_reason(name):
    assert "no rotary" in phase_coverage.measure(subject_of(model_of(name))).skipped
