"""Protocols, scoring and rows: the same targets at every length, merged passes as separate ones."""

import contextlib
import dataclasses
import math
from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lengthgen import model as models
from lengthgen import modifiers, schemes
from lengthgen.data.splits import Splits
from lengthgen.data.tokens import write_store
from lengthgen.errors import ConfigError, DataError
from lengthgen.evaluation import hard_window, last_lines, records, scoring, writing
from lengthgen.evaluation.protocols import EvaluationConfig, eval_lengths, plan
from lengthgen.model import ModelConfig
from lengthgen.modifiers.base import modified
from lengthgen.retrofits import base
from lengthgen.retrofits import hard_window as window_retrofit
from lengthgen.runs import identity as run_identity

TRAIN_LENGTH = 16
LENGTHS = [8, 16, 20, 24, 32, 48, 64]
SIZES = [70, 64, 65, 200, 131, 90]  # the second is one token too short for length 64
VOCAB = 13


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    chance = np.random.default_rng(0)
    documents = [(f"doc{i}", chance.integers(0, VOCAB, size)) for i, size in enumerate(SIZES)]
    return write_store(
        tmp_path_factory.mktemp("store") / "s",
        documents,
        vocab_size=VOCAB,
        token_bytes=np.full(VOCAB, 2),
    )


def make(scheme, train_length=TRAIN_LENGTH, **options):
    cls = schemes.load(scheme)
    model = models.build(
        ModelConfig(n_layers=2, n_heads=2, width=16),
        cls,
        cls.Config(**options),
        train_length=train_length,
        vocab_size=VOCAB,
        seed=0,
    )
    with torch.no_grad():  # away from the initial state, where positions hardly matter
        for parameter in model.parameters():
            parameter.add_(
                0.1
                * torch.randn(
                    parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())
                )
            )
    return model


def requests(store, lengths=LENGTHS, train_length=TRAIN_LENGTH, **options):
    """Of the default protocols that read the model as it was trained."""
    options.setdefault("protocols", ["matched", "nonoverlapping", "position"])
    return plan(store.lengths, store.names, lengths, train_length, EvaluationConfig(**options))


def score(model, store, wanted, tokens_per_batch=256):
    return scoring.score(
        model, store, wanted, tokens_per_batch=tokens_per_batch, device=torch.device("cpu")
    )


def targets(request):
    """(document, place) of every scored target."""
    return [
        (w.document, w.start + p + 1) for w in request.windows for p in range(w.first, w.length)
    ]


@pytest.mark.parametrize(
    ("train_length", "lengths", "sizes"),
    [
        (16, LENGTHS, SIZES),
        (512, [512, 513, 520, 600], [600, 601, 800, 1113, 1200, 1700, 4000]),
        (512, [7, 512, 1500], [1501, 2013, 2100, 3000]),
    ],
)
def test_matched_targets_are_the_same_tokens_at_every_length_and_see_their_own_document(
    train_length, lengths, sizes
):
    names = [f"doc{i}" for i in range(len(sizes))]
    wanted = plan(
        np.array(sizes),
        names,
        lengths,
        train_length,
        EvaluationConfig(blocks=3, protocols=["matched"]),
    )
    assert [r.eval_length for r in wanted] == lengths
    first = targets(wanted[0])
    assert len(first) == len(set(first))
    for request in wanted:
        assert targets(request) == first
        assert {w.document for w in request.windows} == {
            i for i, size in enumerate(sizes) if size > max(lengths)
        }
        for w in request.windows:
            assert (
                w.start >= 0 and w.start + w.length < sizes[w.document]
            )  # inside one document, the last target too
            assert w.length == request.eval_length and w.length - w.first == min(
                train_length // 4, min(lengths)
            )


def ends_of(wanted, protocol, length):
    """{document: ends of its windows}"""
    found = {}
    for w in next(r for r in wanted if (r.protocol, r.eval_length) == (protocol, length)).windows:
        found.setdefault(w.document, []).append(w.start + w.length)
    return found


def test_blocks_lie_a_training_length_apart_and_a_short_document_has_fewer():
    sizes = [64 + 1, 64 + 16, 64 + 17, 64 + 32, 64 + 33, 500]
    names = [f"doc{i}" for i in range(len(sizes))]
    ends = ends_of(
        plan(np.array(sizes), names, LENGTHS, 16, EvaluationConfig(blocks=3)), "matched", 64
    )
    assert [len(ends[i]) for i in range(len(sizes))] == [1, 1, 2, 2, 3, 3]
    assert all(set(np.diff(found)) <= {16} and found[0] >= 64 for found in ends.values())
    assert ends[0] == [64] and ends[2] == [64, 80]


def test_where_a_document_is_read_depends_on_its_name_alone_and_spreads_over_it():
    def first_ends(names):
        ends = ends_of(
            plan(np.full(len(names), 1000), names, LENGTHS, 16, EvaluationConfig(documents=100)),
            "matched",
            64,
        )
        return {names[i]: found[0] for i, found in ends.items()}

    names = [f"doc{i}" for i in range(100)]
    alone = first_ends(names)
    assert {name: first_ends([name, "another"])[name] for name in names[:5]} == {
        name: alone[name] for name in names[:5]
    }
    assert (
        len(set(alone.values())) > 80 and min(alone.values()) < 150 and max(alone.values()) > 900
    )  # of 64 .. 983


def test_windows_of_the_other_protocols(store):
    wanted = requests(store, blocks=2)
    found = {(r.protocol, r.eval_length): r for r in wanted}
    ends = {document: some[0] for document, some in ends_of(wanted, "matched", 64).items()}
    assert len(ends) == 5  # the short document takes no part
    for length, count in (
        (8, 8),
        (20, 3),
        (24, 2),
        (64, 1),
    ):  # whole windows in the 64 tokens before a document's first end, the last ends there
        expected = {
            (d, end - k * length, length, 0, 0)
            for d, end in ends.items()
            for k in range(1, count + 1)
        }
        assert {dataclasses.astuple(w) for w in found["nonoverlapping", length].windows} == expected
        assert len(found["nonoverlapping", length].windows) == len(expected)
    assert ends_of(wanted, "position", 64) == ends_of(wanted, "matched", 64)
    assert all(w.first == 0 for w in found["position", 64].windows)


def test_documents_are_chosen_by_name_not_by_order(store):
    names = [store.names[w.document] for r in requests(store, documents=2) for w in r.windows]
    order = list(reversed(range(len(SIZES))))
    sizes, shuffled = np.array(SIZES)[order], [store.names[i] for i in order]
    again = plan(sizes, shuffled, LENGTHS, TRAIN_LENGTH, EvaluationConfig(documents=2))
    assert (
        set(names) == {shuffled[w.document] for r in again for w in r.windows}
        and len(set(names)) == 2
    )


@pytest.mark.parametrize("scheme", schemes.names())
def test_one_pass_for_all_lengths_equals_a_plain_pass_for_each_window(store, scheme):
    model = make(scheme)
    for one in score(model, store, requests(store)):
        if one.status == "refused":
            assert one.request.eval_length > TRAIN_LENGTH
            continue
        assert one.status == "ok"
        for window, got in zip(one.request.windows, one.losses, strict=True):
            plain = torch.stack(
                [plain_losses(model, store, window, draw) for draw in range(model.scheme.draws)]
            )
            np.testing.assert_allclose(
                got, plain.mean(0)[window.first :].numpy(), rtol=0, atol=1e-5
            )


def plain_losses(model, store, window, draw: int):
    """(T,) losses of one window by a pass of its own."""
    model.scheme.use_draw(draw)
    start = int(store.offsets[window.document]) + window.start
    tokens = store.tokens(start, start + window.length + 1)[None]
    with torch.no_grad():
        logits = model.logits(model(tokens[:, :-1]))
    return torch.nn.functional.cross_entropy(logits[0], tokens[0, 1:], reduction="none")


def test_random_positions_are_averaged_over_their_draws_and_the_spread_is_kept(store):
    model = make("randomised")
    assert model.scheme.draws > 1
    for one in score(model, store, requests(store)):
        assert len(one.by_draw) == model.scheme.draws and len(set(one.by_draw)) > 1
        assert np.mean(one.by_draw) == pytest.approx(one.losses.mean(dtype=np.float64), abs=1e-6)
    assert all(one.by_draw == () for one in score(make("alibi"), store, requests(store)))


@pytest.fixture(scope="module")
def longer_store(tmp_path_factory):
    """For windows of several chunks of attention, the last of them ragged."""
    document = np.random.default_rng(1).integers(0, VOCAB, 330)
    return write_store(
        tmp_path_factory.mktemp("store") / "s",
        [("doc", document)],
        vocab_size=VOCAB,
        token_bytes=np.full(VOCAB, 2),
    )


@pytest.mark.parametrize("scheme", schemes.names())
def test_merged_windows_equal_separate_ones_where_a_scheme_declares_prefix_consistency(
    longer_store, scheme
):
    model = make(scheme, train_length=64)
    wanted = requests(longer_store, [32, 64, 80, 96, 128, 192, 256], 64)
    separate = {(w.document, w.start, w.length) for r in wanted for w in r.windows}
    merged = sum(len(jobs) for jobs in scoring._jobs(model, wanted).values())
    if not model.scheme.declaration.prefix_consistent:
        assert merged == len(separate)
        return
    assert merged == len({(document, start) for document, start, _ in separate}) < len(separate)
    for one in score(model, longer_store, wanted):
        (alone,) = score(model, longer_store, [one.request])
        assert one.status == alone.status == "ok"
        np.testing.assert_allclose(one.losses, alone.losses, rtol=0, atol=1e-5)


@pytest.mark.parametrize("scheme", ["rope", "fire", "learned"])
def test_order_and_batch_size_change_no_number(store, scheme):
    model, wanted = make(scheme), requests(store)
    a = score(model, store, wanted, tokens_per_batch=64)
    b = list(reversed(score(model, store, list(reversed(wanted)), tokens_per_batch=4096)))
    for one, other in zip(a, b, strict=True):
        np.testing.assert_allclose(one.losses, other.losses, atol=1e-5)


def test_a_refused_length_is_an_outcome_and_the_others_go_on(store):
    outcomes = {
        (s.request.protocol, s.request.eval_length): s
        for s in score(make("learned", tail="refuse"), store, requests(store))
    }
    assert outcomes["matched", 16].status == "ok"
    assert (
        outcomes["matched", 20].status == "refused" and "16 rows" in outcomes["matched", 20].reason
    )


class OutOfResources(Exception):
    """As Triton's, which is no RuntimeError."""


SHORTAGES = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    OutOfResources("out of resource: shared memory, Required: 262144, Hardware limit: 232448"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    MemoryError(),
)


@pytest.mark.parametrize("shortage", SHORTAGES, ids=lambda error: f"{type(error).__name__} {error}")
def test_out_of_memory_halves_the_batch_then_gives_up_the_length(store, monkeypatch, shortage):
    model, sizes = make("alibi"), []
    plain = model.losses

    def losses(tokens, wanted, first=0):
        sizes.append(tuple(tokens.shape))
        if tokens.shape[1] > 40 or tokens.numel() > 100:
            raise shortage
        return plain(tokens, wanted, first)

    monkeypatch.setattr(model, "losses", losses)
    outcomes = {
        (s.request.protocol, s.request.eval_length): s for s in score(model, store, requests(store))
    }
    assert outcomes["matched", 64].status == outcomes["matched", 48].status == "oom"
    assert outcomes["matched", 32].status == "ok"
    assert (1, 64) in sizes
    monkeypatch.undo()
    straight = {
        (s.request.protocol, s.request.eval_length): s for s in score(model, store, requests(store))
    }
    np.testing.assert_allclose(
        outcomes["matched", 32].losses, straight["matched", 32].losses, atol=1e-5
    )


@pytest.mark.parametrize("tokens_per_batch", [64, 256, 4096])
def test_batches_of_one_size_score_the_same(store, monkeypatch, tokens_per_batch):
    model, shapes = make("alibi"), defaultdict(set)
    wanted, plain, cpu = requests(store), model.losses, torch.device("cpu")

    def losses(tokens, targets, first=0):
        shapes[tokens.shape[1]].add(len(tokens))
        return plain(tokens, targets, first)

    monkeypatch.setattr(model, "losses", losses)
    options = (model, store, tokens_per_batch, cpu, contextlib.nullcontext, False)
    ragged = scoring.Scorer(*options).once(wanted, lambda done, total: None)
    # The test is of something: without it some length has two sizes.
    assert tokens_per_batch > 256 or any(len(sizes) > 1 for sizes in shapes.values())
    shapes.clear()
    equal = scoring.Scorer(*options, one_size=True).once(wanted, lambda done, total: None)
    assert all(len(sizes) == 1 for sizes in shapes.values())
    for one, other in zip(equal, ragged, strict=True):
        np.testing.assert_allclose(one.losses, other.losses, atol=1e-5)


def test_a_forward_pass_of_a_gpu_is_as_large_as_its_memory(monkeypatch):
    def tokens_with(memory):
        properties = SimpleNamespace(total_memory=memory)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
        return scoring.tokens_at_once(torch.device("cuda"))

    assert [tokens_with(gib * 2**30) for gib in (2, 8, 24, 79, 140)] == [
        8192, 16384, 32768, 131072, 262144,
    ]  # fmt: skip
    assert scoring.tokens_at_once(torch.device("cpu")) == 8192


def test_another_error_is_no_shortage_of_memory(store, monkeypatch):
    model = make("alibi")

    def losses(tokens, wanted, first=0):
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(model, "losses", losses)
    with pytest.raises(RuntimeError, match="device-side assert"):
        score(model, store, requests(store))


def test_losses_that_are_not_finite_are_recorded_as_such(store, monkeypatch):
    model = make("none")
    plain = model.losses
    monkeypatch.setattr(
        model,
        "losses",
        lambda t, y, first=0: plain(t, y, first) + (math.inf if t.shape[1] == 64 else 0.0),
    )
    by_length = {
        s.request.eval_length: s.status
        for s in score(model, store, requests(store, protocols=["matched"]))
    }
    assert by_length[64] == "nonfinite"


def splits(store):
    return Splits(
        label="toy",
        train=store,
        validation=store,
        tokenizer="bytes",
        vocab_size=VOCAB,
        fingerprint="0" * 16,
        notes=(),
    )


IDENTITY = dict.fromkeys(records.IDENTITY, "x") | {
    "seed": 0,
    "train_length": TRAIN_LENGTH,
    "steps": 1,
}


def write_rows(folder, scored, store, data=None, documents=1):
    """documents: how many were asked for."""
    return writing.write(
        folder,
        scored,
        data or splits(store),
        IDENTITY,
        train_length=TRAIN_LENGTH,
        dtype="fp32",
        settings=EvaluationConfig(resamples=200, documents=documents),
        origin={},
    )


def test_rows_equal_plain_sums(store, tmp_path):
    scored = score(make("t5_bias"), store, requests(store))
    written = write_rows(tmp_path / "e", scored, store)
    value = {(r["protocol"], r["eval_length"], r["metric"]): r for r in written}
    by = {(s.request.protocol, s.request.eval_length): s for s in scored}
    for protocol in ("matched", "nonoverlapping"):
        for length in LENGTHS:
            losses = by[protocol, length].losses
            row = value[protocol, length, "loss"]
            assert (
                row["value"] == pytest.approx(losses.mean(), rel=1e-6)
                and row["low"] < row["value"] < row["high"]
            )
            assert row["n_tokens"] == losses.size and row["n_documents"] == 5
            assert value[protocol, length, "perplexity"]["value"] == pytest.approx(
                math.exp(losses.mean()), rel=1e-5
            )
            assert value[protocol, length, "bits_per_byte"]["value"] == pytest.approx(
                losses.mean() / math.log(2) / 2, rel=1e-5
            )
    change = value["matched", 64, "loss_change"]
    assert change["value"] == pytest.approx(
        by["matched", 64].losses.mean() - by["matched", 16].losses.mean(), abs=1e-6
    )
    assert value["matched", 16, "loss_change"]["high"] == 0.0
    assert ("nonoverlapping", 64, "loss_change") not in value
    with np.load(tmp_path / "e" / "losses.npz") as arrays:
        np.testing.assert_array_equal(arrays["matched/64/losses"], by["matched", 64].losses)
    assert sorted(p.name for p in (tmp_path / "e").iterdir()) == [
        "documents.csv", "lengths.csv", "losses.npz", "manifest.json", "positions.csv",
        "settings.json",
    ]  # fmt: skip


def test_position_rows_cover_the_window_once(store, tmp_path):
    scored = score(make("rope"), store, requests(store))
    write_rows(tmp_path / "e", scored, store)
    from lengthgen.reporting.tables import read_table

    table = read_table(tmp_path / "e" / "positions.csv", records.POSITIONS)
    assert (
        list(table.position) == [0, *table.position_end[:-1]] and table.position_end.iloc[-1] == 64
    )
    losses = next(s.losses for s in scored if s.request.protocol == "position")
    assert np.average(table.value, weights=table.n_tokens) == pytest.approx(losses.mean(), rel=1e-5)


def test_refused_rows_are_empty_and_say_why(store, tmp_path):
    scored = score(make("learned", tail="refuse"), store, requests(store))
    written = write_rows(tmp_path / "e", scored, store)
    row = next(r for r in written if r["eval_length"] == 64 and r["metric"] == "loss")
    assert row["value"] is None and row["status"] == "refused" and "rows" in row["reason"]
    assert any("refused" in line for line in last_lines.lines(written))


def test_lengths_from_factors_and_as_given():
    assert eval_lengths(EvaluationConfig(), 512) == [256, 512, 640, 768, 1024, 1536, 2048]
    assert eval_lengths(EvaluationConfig(lengths=[1500, 600]), 512) == [512, 600, 1500]
    with pytest.raises(ConfigError, match=r"0.75 x 10 = 7.5"):
        eval_lengths(EvaluationConfig(factors=[0.75]), 10)
    with pytest.raises(ConfigError, match="2 tokens or more"):
        eval_lengths(EvaluationConfig(lengths=[1]), 16)


def test_the_version_of_evaluations_names_them_anew_and_leaves_runs_alone(monkeypatch):
    before = run_identity.evaluation_id(EvaluationConfig(), 512)
    monkeypatch.setattr(run_identity, "RESULTS_VERSION", -1)
    assert run_identity.evaluation_id(EvaluationConfig(), 512) == before
    monkeypatch.setattr(run_identity, "EVALUATION_VERSION", -1)
    assert run_identity.evaluation_id(EvaluationConfig(), 512) != before


def test_documents_that_are_too_short_are_one_line():
    with pytest.raises(
        DataError,
        match=r"^evaluation length 64 needs a validation document of 65 tokens; "
        r"the longest of 2 has 30[^\n]*$",
    ):
        plan(np.array([30, 20]), ["a", "b"], [16, 64], 16, EvaluationConfig())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"protocols": ["matchd"]}, "nearest: matched"),
        ({"documents": 0}, "documents=0"),
        ({"block": 0}, "block=0"),
        ({"protocols": []}, "at least one"),
    ],
)
def test_impossible_evaluation_settings(change, words):
    with pytest.raises(ConfigError, match=words):
        dataclasses.replace(EvaluationConfig(), **change)


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("scheme", ["alibi", "rope", "fire", "cope", "fox"])
def test_the_band_reads_the_matched_windows_through_a_hard_window(store, scheme):
    model = make(scheme)
    before, trained = weights(model), model.scheme
    wanted = requests(store, protocols=["hard_window", "matched"])
    found = {(s.request.protocol, s.request.eval_length): s for s in score(model, store, wanted)}
    assert list(found) == [(r.protocol, r.eval_length) for r in wanted]
    assert [length for protocol, length in found if protocol == "hard_window"] == [
        20,
        24,
        32,
        48,
        64,
    ]  # beyond 16 alone
    assert model.scheme is trained and before.keys() == weights(model).keys()
    for length in (20, 64):
        within, matched = found["hard_window", length], found["matched", length]
        assert within.request.windows == matched.request.windows and within.status == "ok"
        assert np.abs(within.losses - matched.losses).max() > 1e-6
    # The retrofit itself, around the same model, gives the same numbers.
    model.scheme, _ = base.apply(window_retrofit.HardWindow, window_retrofit.Config(), trained)
    for one in score(model, store, requests(store, [16, 64], protocols=["matched"])):
        if one.request.eval_length == 64:
            np.testing.assert_allclose(
                one.losses, found["hard_window", 64].losses, rtol=0, atol=1e-5
            )


def test_in_one_layer_the_band_hides_exactly_what_is_farther_than_the_training_length(store):
    """One layer without positions: under the hard window as with a text cut to 16 tokens."""
    cls = schemes.load("none")
    model = models.build(
        ModelConfig(n_layers=1, n_heads=2, width=16),
        cls,
        cls.Config(),
        train_length=16,
        vocab_size=VOCAB,
        seed=0,
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(
                0.3
                * torch.randn(
                    parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())
                )
            )
    (one,) = score(model, store, requests(store, [16, 64], protocols=["hard_window"]))
    for window, got in zip(one.request.windows, one.losses, strict=True):
        for position, loss in zip(range(window.first, window.length), got, strict=True):
            last = int(store.offsets[window.document]) + window.start + position
            tokens = store.tokens(last - 15, last + 2)[None]
            with torch.no_grad():
                assert loss == pytest.approx(
                    model.losses(tokens[:, :-1], tokens[:, 1:], 15).item(), abs=1e-5
                )


def test_a_scheme_that_refuses_a_length_refuses_it_under_the_band_too(store):
    found = score(make("learned", tail="refuse"), store, requests(store, protocols=["hard_window"]))
    assert {s.status for s in found} == {"refused"} and len(found) == 5


def test_inside_modifiers_the_band_is_put_in_and_taken_out(store):
    model = make("alibi")
    cls = modifiers.load("log_n")
    model.scheme = around = modified(model.scheme, [(cls, cls.Config())])
    inner = around.inner
    with hard_window.confined(model):
        assert (
            model.scheme is around
            and around.inner.inner is inner
            and around.span(0).window == TRAIN_LENGTH
        )
    assert model.scheme is around and around.inner is inner and around.span(0) is None
