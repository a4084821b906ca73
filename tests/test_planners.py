"""Windows of every protocol, by hand and for any documents; identities of evaluations; context."""

import dataclasses

import numpy as np
import pytest

from lengthgen.config import compose, dataclass_from
from lengthgen.errors import ConfigError
from lengthgen.evaluation import context_of_targets, last_lines, planners, writing
from lengthgen.evaluation.planners import Request, Window
from lengthgen.evaluation.protocols import EvaluationConfig, amounts_of, plan
from lengthgen.runs import identity as run_identity

from .test_evaluation import (  # noqa: F401
    LENGTHS,
    TRAIN_LENGTH,
    make,
    plain_losses,
    requests,
    score,
    store,
    write_rows,
)

ALL = ("matched", "nonoverlapping", "sliding", "last_k", "position", "hard_window", "shuffled")


def planned(size, lengths, train_length=4, **options):
    """{(protocol, length): windows} of one document that is read from its first token."""
    found = plan(
        np.array([size]),
        ["doc"],
        lengths,
        train_length,
        EvaluationConfig(protocols=list(ALL), blocks=1, **options),
    )
    return {(request.protocol, request.eval_length): request.windows for request in found}


def scored(windows):
    """(document, place, tokens seen) of every target, in order."""
    return [(w.document, w.start + p + 1, p + 1) for w in windows for p in range(w.first, w.stop)]


def shape(windows):
    """(start, length, first, stop) of each window, parts of one window put together again."""
    found = {}
    for w in windows:
        first, stop = found.get((w.start, w.length), (w.first, w.first))
        assert w.first == stop  # parts follow one another
        found[w.start, w.length] = first, w.stop
    return [(*window, *part) for window, part in found.items()]


def test_sliding_by_hand():
    found = planned(13, [4, 8, 12], stride=3)
    assert shape(found["sliding", 12]) == [(0, 12, 0, 12)]
    assert shape(found["sliding", 8]) == [
        (0, 8, 0, 8),
        (3, 8, 5, 8),
        (4, 8, 7, 8),
    ]  # the last scores what is left
    assert shape(found["sliding", 4]) == [(0, 4, 0, 4), (3, 4, 1, 4), (6, 4, 1, 4), (8, 4, 2, 4)]
    alone = planned(13, [4, 12], stride=99)  # no longer than the window: as without overlap
    assert shape(alone["sliding", 4]) == shape(alone["nonoverlapping", 4])


def test_windows_of_a_protocol_score_equally_many_targets_with_few_parts():
    found = planned(2049, [256, 512, 640, 1536, 2048], 512)  # stride 128
    for (_, length), windows in found.items():
        assert len({w.stop - w.first for w in windows}) == 1, length
    assert {
        w.stop - w.first
        for (protocol, _), windows in found.items()
        if protocol == "sliding"
        for w in windows
    } == {128, 2048}


def test_last_k_by_hand():
    found = planned(13, [4, 6, 12], last_k=5)
    assert shape(found["last_k", 12]) == [(0, 12, 7, 12)]
    assert shape(found["last_k", 6]) == [(0, 6, 1, 6), (6, 6, 1, 6)]
    assert shape(found["last_k", 4]) == [(0, 4, 0, 4), (4, 4, 0, 4), (8, 4, 0, 4)]  # it has no more


def test_models_of_two_training_lengths_score_the_same_targets_when_blocks_are_as_far_apart():
    sizes, names = np.array([300, 200, 140]), ["a", "b", "c"]

    def found(train_length, lengths, **options):
        settings = EvaluationConfig(protocols=["matched"], blocks=3, block=5, **options)
        return {
            target
            for request in plan(sizes, names, lengths, train_length, settings)
            for target in targets(request)
        }

    assert (
        found(20, [20, 80], block_spacing=20)
        == found(80, [20, 80], block_spacing=20)
        == found(20, [20, 80])
    )
    assert found(80, [20, 80]) != found(20, [20, 80])


def test_blocks_that_would_overlap_are_refused():
    with pytest.raises(
        ConfigError, match="block_spacing=4: expected the 5 target tokens of a block or more"
    ):
        plan(np.array([300]), ["a"], [20, 80], 20, EvaluationConfig(block=5, block_spacing=4))


def test_an_evaluation_with_the_default_distance_is_called_as_before_there_was_one():
    of = {
        spacing: run_identity.evaluation_id(EvaluationConfig(block_spacing=spacing), 512)
        for spacing in (None, 256, 512)
    }
    assert of[None] == "ede9b810" and len(set(of.values())) == 3


def test_what_is_left_open_is_a_quarter_of_the_training_length():
    assert amounts_of(EvaluationConfig(), [256, 2048], 512) == planners.Amounts(512, 128, 128, 128)
    assert amounts_of(
        EvaluationConfig(block=9, stride=1, last_k=256), [7, 2048], 512
    ) == planners.Amounts(512, 7, 1, 256)


@pytest.mark.parametrize("seed", range(25))
def test_what_holds_of_any_documents(seed):
    chance = np.random.default_rng(seed)
    train_length = int(chance.integers(4, 40))
    lengths = sorted({train_length, *chance.integers(2, 150, chance.integers(1, 5)).tolist()})
    longest = max(lengths)
    sizes = np.append(
        chance.integers(1, 3 * longest, 7), [longest, longest + 1 + chance.integers(0, 50)]
    )
    options = {
        name: int(chance.integers(1, 60)) if chance.random() < 0.7 else None
        for name in ("block", "stride", "last_k")
    }
    settings = EvaluationConfig(
        protocols=list(ALL),
        blocks=int(chance.integers(1, 4)),
        documents=int(chance.integers(1, 9)),
        **options,
    )
    wanted = plan(
        sizes, [f"d{seed}-{i}" for i in range(len(sizes))], lengths, train_length, settings
    )
    amounts = amounts_of(settings, lengths, train_length)
    by = {(request.protocol, request.eval_length): request for request in wanted}
    assert len(by) == len(wanted)
    for request in wanted:
        assert len({w.document for w in request.windows}) == min(
            settings.documents, (sizes > longest).sum()
        )
        for w in request.windows:
            assert (
                w.start >= 0 and w.start + w.length < sizes[w.document]
            )  # inside one document, the last target too
            assert w.length == request.eval_length and 0 <= w.first < w.stop <= w.length
        assert len({w.stop - w.first for w in request.windows}) == 1
        assert context_of_targets.contexts(request.windows, sizes).ravel().tolist() == [
            tokens for _, _, tokens in scored(request.windows)
        ]
    matched = targets(by["matched", lengths[0]])
    budget = {
        (w.document, w.start + p + 1)
        for w in by["nonoverlapping", longest].windows
        for p in range(longest)
    }
    for length in lengths:
        assert targets(by["matched", length]) == matched and len(set(matched)) == len(matched)
        assert (
            context_of_targets.shares(by["matched", length], sizes, amounts.block)["full_context"]
            == 1
        )
        slid = scored(by["sliding", length].windows)
        assert sorted((document, place) for document, place, _ in slid) == sorted(
            budget
        )  # each once, and all of the text
        begin = {
            document: min(place for own, place, _ in slid if own == document)
            for document, _, _ in slid
        }
        stride = min(amounts.stride, length)
        assert all(
            tokens > length - stride
            for document, place, tokens in slid
            if place >= begin[document] + length
        )
        for protocol in ("nonoverlapping", "last_k"):
            found = targets(by[protocol, length])
            assert len(set(found)) == len(found) and set(found) <= budget
        assert (
            len(targets(by["nonoverlapping", length]))
            == longest // length * length * len(budget) // longest
        )
        last = by["last_k", length].windows
        assert {(w.document, w.start) for w in last} == {
            (w.document, w.start) for w in by["nonoverlapping", length].windows
        }
        assert {w.length - w.first for w in last} == {min(amounts.last_k, length)} and {
            w.unscored for w in last
        } == {0}


def targets(request):
    return [(document, place) for document, place, _ in scored(request.windows)]


@pytest.mark.parametrize("scheme", ["alibi", "learned", "normalised_sinusoid"])
def test_losses_of_sliding_and_last_k_are_those_of_plain_passes(store, scheme):  # noqa: F811
    model = make(scheme)
    for one in score(
        model, store, requests(store, protocols=["sliding", "last_k"], stride=5, last_k=3)
    ):
        plain = {}
        for window, got in zip(one.request.windows, one.losses, strict=True):
            key = window.document, window.start, window.length
            if key not in plain:
                plain[key] = plain_losses(model, store, window, 0).numpy()
            np.testing.assert_allclose(
                got, plain[key][window.first : window.stop], rtol=0, atol=1e-5
            )


def test_rows_of_sliding_count_every_target_once(store, tmp_path):  # noqa: F811
    wanted = requests(store, protocols=["sliding", "last_k"])
    written = write_rows(tmp_path / "e", score(make("alibi"), store, wanted), store)
    n_tokens = {
        (row["protocol"], row["eval_length"]): row["n_tokens"]
        for row in written
        if row["metric"] == "loss"
    }
    assert {n_tokens["sliding", length] for length in LENGTHS} == {5 * 64}
    assert n_tokens["last_k", 20] == 5 * 3 * 4 and n_tokens["last_k", 64] == 5 * 4
    with np.load(tmp_path / "e" / "losses.npz") as arrays:
        start, first, losses = (
            arrays[f"sliding/24/{name}"] for name in ("start", "first", "losses")
        )
        document = arrays["sliding/24/document"]
    places = [
        (d, s + f + p + 1)
        for d, s, f in zip(document, start, first, strict=True)
        for p in range(losses.shape[1])
    ]
    assert sorted(places) == sorted(targets(next(r for r in wanted if r.eval_length == 24)))


# Identity


def named(evaluation):
    config = compose.compose([f"evaluation={evaluation}", "scheme=none"]).evaluation
    options = {key: value for key, value in config.items() if key != "name"}
    return dataclass_from.build(EvaluationConfig, options, "evaluation")


def test_every_protocol_has_a_planner_and_the_default_plan_is_what_it_was():
    assert set(planners.PLANNERS) == set(ALL) and EvaluationConfig().protocols == [
        "matched",
        "nonoverlapping",
        "position",
        "shuffled",
    ]
    ids = {
        (name, length): run_identity.evaluation_id(named(name), length)
        for name in ("default", "evidence", "quick")
        for length in (512, 1024)
    }
    assert ids == {
        ("default", 512): "ede9b810", ("default", 1024): "5d817c69",
        ("evidence", 512): "6f814dce", ("evidence", 1024): "6bb3194d",
        ("quick", 512): "74e482e8", ("quick", 1024): "d799fa4a",
    }  # fmt: skip
    assert run_identity.evaluation_id(EvaluationConfig(), 512) == ids["default", 512]


def test_a_setting_of_one_protocol_names_its_evaluations_alone():
    def name(*protocols, **options):
        return run_identity.evaluation_id(
            EvaluationConfig(protocols=list(protocols), **options), 512
        )

    assert name("matched", stride=7, last_k=7) == name("matched")
    assert (
        len(
            {
                name("sliding"),
                name("sliding", stride=7),
                name("sliding", stride=8),
                name("last_k"),
                name("last_k", last_k=7),
            }
        )
        == 5
    )
    assert name("sliding", last_k=7) == name("sliding") and name("last_k", stride=7) == name(
        "last_k"
    )


@pytest.mark.parametrize("change", [{"stride": 0}, {"last_k": -1}])
def test_impossible_amounts(change):
    ((key, value),) = change.items()
    with pytest.raises(
        ConfigError, match=f"evaluation.{key}={value}: expected a positive integer or null"
    ):
        EvaluationConfig(**change)


# Context seen


def test_contexts_and_shares_by_hand():
    sizes = np.array([13, 9])
    inside, before, beyond = Window(0, 4, 8, 6), Window(0, -3, 8, 6), Window(1, 2, 8, 6)
    assert context_of_targets.contexts([inside], sizes).tolist() == [[7, 8]]
    assert context_of_targets.contexts([before], sizes).tolist() == [
        [4, 5]
    ]  # three of the tokens fed are of the document before
    assert context_of_targets.contexts([beyond], sizes).tolist() == [
        [0, 0]
    ]  # targets 9 and 10 of a document of 9
    assert context_of_targets.contexts([Window(0, 0, 8, 2, 4)], sizes).tolist() == [[3, 4]]
    request = Request("matched", 8, (inside, before, beyond))
    assert context_of_targets.shares(request, sizes, 2) == {
        "full_context": 1 / 3,
        "mean_context": 4.0,
    }
    whole = Request("nonoverlapping", 8, (Window(0, 0, 8, 0),))
    assert context_of_targets.shares(whole, sizes, 2) == {"full_context": 0.25, "mean_context": 4.5}
    answers = np.arange(8)[None] >= 5
    assert context_of_targets.shares(whole, sizes, 2, answers) == {
        "full_context": pytest.approx(2 / 3),
        "mean_context": 7.0,
    }


def test_a_matched_row_without_full_context_says_so_and_no_other(store, tmp_path):  # noqa: F811
    wanted = requests(store, [16, 32])
    shifted = [
        dataclasses.replace(w, start=-20) if w == wanted[1].windows[0] else w
        for w in wanted[1].windows
    ]
    assert (wanted[1].protocol, wanted[1].eval_length) == ("matched", 32)
    outcomes = score(make("alibi"), store, wanted)
    crossing = [
        dataclasses.replace(s, request=dataclasses.replace(s.request, windows=tuple(shifted)))
        if s.request is wanted[1]
        else s
        for s in outcomes
    ]
    clean, written = (
        write_rows(tmp_path / name, some, store)
        for name, some in (("clean", outcomes), ("crossing", crossing))
    )
    assert {row["reason"] for row in clean} == {""} and "only" not in " ".join(
        last_lines.lines(clean)
    )
    said = {(row["protocol"], row["eval_length"]) for row in written if row["reason"]}
    assert said == {("matched", 32)}
    line = next(line for line in last_lines.lines(written) if "only" in line)
    assert (
        "91.7% of the scored tokens have their full context of 32 tokens of their own document"
        in line
    )
    about = {
        (o["protocol"], o["eval_length"]): o
        for o in writing.files.read_json(tmp_path / "clean" / "settings.json")["outcomes"]
    }
    assert (
        about["matched", 32]["full_context"] == 1 and about["matched", 32]["mean_context"] == 30.5
    )  # 29 .. 32
    assert (
        about["nonoverlapping", 32]["full_context"] == 4 / 32
        and about["nonoverlapping", 32]["mean_context"] == 16.5
    )
    assert TRAIN_LENGTH == 16


def test_histogram_of_document_lengths(store, tmp_path):  # noqa: F811
    assert context_of_targets.histogram(np.array([1, 2, 3, 4, 511, 512, 1023, 1024])) == {
        "1": 1,
        "2": 2,
        "4": 1,
        "256": 1,
        "512": 2,
        "1024": 1,
    }
    assert context_of_targets.histogram(np.array([], int)) == {}
    write_rows(
        tmp_path / "e", score(make("none"), store, requests(store, protocols=["matched"])), store
    )
    stored = writing.files.read_json(tmp_path / "e" / "settings.json")["validation_documents"]
    assert stored == {"64": 4, "128": 2}  # 70, 64, 65, 90; 200, 131
