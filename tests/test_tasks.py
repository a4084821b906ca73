"""Algorithmic tasks: answers are recomputed from prompts, and only answers are trained and scored.

The reading is independent of the sources: a document is cut at its marks by a loop, and copies,
sums, parities, products of permutations and recalled values are worked out on lists and integers.
"""

import csv
import itertools
import json
import math
from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats

from lengthgen import files
from lengthgen import model as models
from lengthgen.data import batches, datasets
from lengthgen.data.datasets.tasks import TaskDataset
from lengthgen.data.sources.draws import Draws
from lengthgen.data.splits import make_dataset, prepare_splits
from lengthgen.errors import ConfigError, DataError
from lengthgen.evaluation import exact_match, last_lines, records, whole_documents, writing
from lengthgen.evaluation.protocols import EvaluationConfig
from lengthgen.evaluation.scoring import score
from lengthgen.model import ModelConfig
from lengthgen.reporting import summary as markdown
from lengthgen.reporting import tables
from lengthgen.reporting.figures import by_length, drawing
from lengthgen.runs import run, train_config
from lengthgen.training import loop as training

from .test_config import given
from .test_evaluation import IDENTITY
from .test_synthetic import fitted

BYTES = {"name": "bytes"}
NAMES = [name for name in datasets.names() if issubclass(datasets.load(name), TaskDataset)]
L = 41
SIZES = {
    "train_documents": 150,
    "validation_documents": 5,
    "document_length": L,
    "lengths": [17, 41, 60],
}
VARIANTS = {
    "addition, base 2": ("addition", {"base": 2}),
    "addition, least digit first": ("addition", {"least_first": True}),
    "parity, every state": ("parity", {"every_state": True}),
    "S3": ("s5", {"degree": 3}),
    "s5, every state": ("s5", {"every_state": True}),
    "mqar, few keys": ("mqar", {"n_keys": 14, "n_values": 3}),
}
CASES = {name: (name, {}) for name in NAMES} | VARIANTS
every = pytest.mark.parametrize(("name", "changes"), CASES.values(), ids=CASES)


def source(name, **changes):
    return make_dataset({"name": name} | SIZES | changes)


def made(name, folder, **changes):
    return prepare_splits({"name": name} | SIZES | changes, BYTES, folder / "cache")


def documents(dataset, split):
    return [document.text.tolist() for document in dataset.documents(split)]


def examples(dataset, symbols):
    """[(prompt, answer)], and what follows the last one; fails where marks are out of order."""
    n = dataset.symbols - 3
    separator, end, pad = n, n + 1, n + 2
    found, part, prompt, filled = [], [], None, 0
    for place, symbol in enumerate(symbols):
        if symbol == separator:
            assert prompt is None
            prompt, part = part, []
        elif symbol == end:
            found.append((prompt, part))
            prompt, part, filled = None, [], place + 1
        else:
            part.append(symbol)
    assert prompt is None and all(symbol == pad for symbol in symbols[filled:])
    assert all(symbol < n for prompt, answer in found for symbol in prompt + answer)
    return found, len(symbols) - filled


# The answers, in plain Python: (configuration, prompt, answer) -> size of the example.
# Each asserts that the answer is right.


def copy(config, prompt, answer):
    assert answer == prompt
    return len(prompt)


def reverse(config, prompt, answer):
    assert [answer[len(prompt) - 1 - i] for i in range(len(prompt))] == prompt and len(
        answer
    ) == len(prompt)
    return len(prompt)


def sorting(config, prompt, answer):
    assert Counter(answer) == Counter(prompt) and all(a <= b for a, b in itertools.pairwise(answer))
    return len(prompt)


def addition(config, prompt, answer):
    plus = prompt.index(config.base)
    terms = prompt[:plus], prompt[plus + 1 :]
    assert len(terms[0]) == len(terms[1]) == len(answer) - 1 and max(answer) < config.base

    def value(digits):
        return sum(
            digit * config.base**i
            for i, digit in enumerate(digits if config.least_first else digits[::-1])
        )

    assert value(terms[0]) + value(terms[1]) == value(answer)
    return len(terms[0])


def parity(config, prompt, answer):
    states = [sum(prompt[: i + 1]) % 2 for i in range(len(prompt))]
    assert set(prompt) <= {0, 1} and answer == (states if config.every_state else states[-1:])
    return len(prompt)


def s5(config, prompt, answer):
    """Things in a row, moved by each permutation in turn: from place x to place g[x]."""
    elements = list(itertools.permutations(range(config.degree)))
    where, states = list(range(config.degree)), []  # where thing x stands now
    for g in prompt:
        where = [elements[g][place] for place in where]
        states.append(elements.index(tuple(where)))
    assert answer == (states if config.every_state else states[-1:])
    return len(prompt)


def mqar(config, prompt, answer):
    pairs, asked = (list(zip(part[::2], part[1::2], strict=True)) for part in (prompt, answer))
    keys, values = {key for key, _ in pairs}, {value for _, value in pairs}
    assert len(keys) == len(pairs) and max(keys) < config.n_keys <= min(values)
    assert Counter(asked) == Counter(pairs)
    return len(pairs)


RIGHT = {
    "copy": copy,
    "reverse": reverse,
    "sorting": sorting,
    "addition": addition,
    "parity": parity,
    "s5": s5,
    "mqar": mqar,
}


def length_of(name, config, size):
    """Symbols of an example, by the definition of the task."""
    if name == "addition":
        return 2 * size + 1 + size + 1 + 2
    if name == "mqar":
        return 2 * size + 2 * size + 2
    return size + (1 if name in ("parity", "s5") and not config.every_state else size) + 2


def largest(name, config, room):
    return max(
        (size for size in range(1, room) if length_of(name, config, size) <= room), default=0
    )


def test_all_are_found():
    assert set(NAMES) == set(RIGHT) and "tasks" not in datasets.names()


@every
def test_answers_are_right_and_documents_are_full(name, changes):
    dataset = source(name, **changes)
    config, sizes = dataset.config, Counter()
    train = documents(dataset, "train")
    assert len(train) == 150 and {len(document) for document in train} == {L}
    for document in train:
        found, left = examples(dataset, document)
        assert largest(name, config, left) == 0  # no other example would fit
        for prompt, answer in found:
            size = RIGHT[name](config, prompt, answer)
            assert len(prompt) + len(answer) + 2 == length_of(name, config, size)
            sizes[size] += 1
    assert set(sizes) == set(
        range(1, largest(name, config, L) + 1)
    )  # every size up to the largest that fits
    validation = documents(dataset, "validation")
    assert Counter(len(document) for document in validation) == {17: 5, 41: 5, 60: 5}
    for document in validation:
        ((prompt, answer),), left = examples(dataset, document)
        assert RIGHT[name](config, prompt, answer) == largest(name, config, len(document))
        assert left == len(document) - len(prompt) - len(answer) - 2


def asked(name, config, dataset, document):
    """Places of the answers, by a loop: behind a separator up to the end.

    Of mqar every second one of these, without the end.
    """
    n, places, behind = dataset.symbols - 3, [], None
    for place, symbol in enumerate(document):
        if behind is not None:
            if name != "mqar" or behind % 2 == 1:
                places.append(place)
            behind += 1
        if symbol == n:
            behind = 0
        elif symbol == n + 1:
            behind = None
    return places


@every
def test_which_symbols_are_answers(name, changes):
    dataset = source(name, **changes)
    covered = set()
    for split in ("train", "validation"):
        for document in documents(dataset, split):
            expected = asked(name, dataset.config, dataset, document)
            assert (
                np.flatnonzero(dataset.answers(np.array(document))).tolist() == expected
                and expected
            )
            covered |= set(expected) if split == "train" else set()
    # Wherever an answer can stand in the window: examples of mqar have 4 n + 2 symbols,
    # and values at even places.
    able = range(4, 40, 2) if name == "mqar" else range(min(covered), L)
    assert covered <= set(able) and len(covered) >= len(able) - 2 and min(covered) <= 6
    together = np.array(documents(dataset, "train"))
    assert np.array_equal(
        dataset.answers(together), np.stack([dataset.answers(document) for document in together])
    )


def test_a_permutation_acts_after_the_ones_before_it():
    """Swap the first two of three things, then turn all: 0 -> 1 -> 2, 1 -> 0 -> 1, 2 -> 2 -> 0.

    To turn first gives another permutation.
    """
    dataset = source("s5", degree=3)
    elements = list(itertools.permutations(range(3)))
    swap, turn, product = (elements.index(one) for one in [(1, 0, 2), (1, 2, 0), (2, 1, 0)])
    table = dataset.packed.task.table
    assert table[turn][swap] == product != table[swap][turn]
    assert all(table[0][g] == table[g][0] == g for g in range(6))


@every
def test_the_same_everywhere_and_independent(name, changes, tmp_path):
    one = made(name, tmp_path / "a", **changes)
    again = made(name, tmp_path / "b", label="other", **changes)
    assert one.fingerprint == again.fingerprint and again.label == "other"
    assert made(name, tmp_path, seed=1, **changes).fingerprint != one.fingerprint
    more = made(
        name,
        tmp_path,
        train_documents=160,
        validation_documents=6,
        lengths=[17, 30, 41, 60],
        **changes,
    )
    for split in ("train", "validation"):
        few, many = (
            {
                n: getattr(s, split).document(i).tolist()
                for i, n in enumerate(getattr(s, split).names)
            }
            for s in (one, more)
        )
        assert few.items() <= many.items() and len(many) > len(few)
    at_one_length = source(name, **changes | {"lengths": [L], "validation_documents": 5})
    train, held_out = (
        set(map(tuple, documents(at_one_length, split))) for split in ("train", "validation")
    )
    assert not train & held_out or name == "parity" or changes.get("degree") == 3


PINNED = {
    "addition": "4fe47de5a4e842f0",
    "copy": "1a94bf69e88ca41d",
    "mqar": "005ce5fb5be1fe4a",
    "parity": "f162b465ae91ed70",
    "reverse": "e8ec3ae1d94eb9f2",
    "s5": "d6604b30856b88b4",
    "sorting": "51101cac9d001e10",
}


def test_tokens_are_pinned(tmp_path):
    """On any machine: only exact arithmetic stands between the random numbers and these tokens."""
    assert {name: made(name, tmp_path).fingerprint for name in NAMES} == PINNED


def test_default_sizes_are_for_a_laptop():
    for name in NAMES:
        options = fitted({"name": name})
        config = make_dataset(options).config
        assert (
            config.train_documents * config.document_length == 4096 * 512
            and max(config.lengths) == 4 * 512
        )
        first = next(make_dataset(options).documents("train"))
        assert len(first.text) == 512


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "copy", "n_symbols": 1}, "dataset.n_symbols=1: expected a whole number >= 2"),
        ({"name": "copy", "lengths": []}, "dataset.lengths=[]: expected at least one length"),
        ({"name": "addition", "base": 1}, "dataset.base=1: expected a whole number >= 2"),
        (
            {"name": "addition", "lengths": [6, 60]},
            "dataset.lengths: 6 symbols hold no example of addition; expected at least 7",
        ),
        (
            {"name": "reverse", "document_length": 3},
            "dataset.document_length: 3 symbols hold no example of reverse; expected at least 4",
        ),
        ({"name": "s5", "degree": 7}, "dataset.degree=7: expected 2 to 6"),
        (
            {"name": "mqar", "n_keys": 500},
            "dataset.n_keys=500: the longest documents have 511 pairs; expected as many",
        ),
        (
            {"name": "sorting", "n_symbols": 65_533},
            "dataset sorting has 65536 symbols: expected below 65536",
        ),
        (
            {"name": "parity", "train_documents": 0},
            "dataset.train_documents=0: expected a positive integer",
        ),
    ],
)
def test_impossible_options(changes, says):
    with pytest.raises(ConfigError) as caught:
        make_dataset(fitted(changes))
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_sizes_that_fit_nowhere_are_refused():
    with pytest.raises(ValueError, match="3 symbols hold no example; expected at least 4"):
        source("copy").packed.one(Draws(0), 3)
    with pytest.raises(ValueError, match="15 pairs need as many keys; there are 14"):
        source("mqar", n_keys=14).packed.task.example(Draws(0), 15)


def test_other_data_have_no_answers(tmp_path):
    splits = prepare_splits(
        {
            "name": "lag_copy",
            "train_documents": 2,
            "validation_documents": 2,
            "document_length": 30,
        },
        BYTES,
        tmp_path,
    )
    assert splits.answers is None and splits.floors is not None
    task = made("copy", tmp_path)
    assert task.floors is None and task.whole_documents and task.answers is not None


# training


def build(splits, scheme="rope", seed=0, **options):
    from lengthgen import schemes

    cls = schemes.load(scheme)
    config = ModelConfig(n_layers=1, n_heads=2, width=16)
    return models.build(
        config, cls, cls.Config(**options), train_length=L, vocab_size=splits.vocab_size, seed=seed
    )


def batch(splits, size=6):
    inputs, targets = batches.crops(
        splits.train, seed=0, step=0, batch_size=size, length=L, cross_documents=False
    )
    return inputs, targets, batches.only_answers(targets, splits.answers)


@pytest.mark.parametrize("name", ["copy", "mqar"])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_training_loss_is_the_mean_over_answers(name, accumulate, tmp_path):
    splits, dataset = made(name, tmp_path), source(name)
    model = build(splits)
    inputs, targets, scored = batch(splits)
    total, count = 0.0, 0
    for row in range(len(inputs)):
        chances = torch.log_softmax(model.logits(model(inputs[row : row + 1]))[0].double(), dim=-1)
        for place in asked(name, dataset.config, dataset, targets[row].tolist()):
            total, count = total - chances[place, targets[row, place]], count + 1
    expected = total / count
    value = expected.item()
    assert (
        batches.n_scored(scored) == count < targets.numel() / 2
        and (scored == targets).sum() == count
    )
    wanted = torch.autograd.grad(expected, list(model.parameters()), allow_unused=True)
    loss = training.forward_backward(
        model.total_loss, inputs, scored, accumulate, torch.enable_grad, batches.n_scored
    ).item()
    assert loss == pytest.approx(value, rel=1e-5)
    for parameter, gradient in zip(model.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)
    assert (
        abs(loss - model.losses(inputs, targets).mean().item()) > 1e-3
    )  # the mean over all tokens is another number


def ask(name, tmp_path, **changes):
    asked = {
        "dataset": name,
        "results": str(tmp_path / "results"),
        "cache": str(tmp_path / "cache"),
        "scheme": "rope",
        "train_length": L,
        "steps": 2,
        "batch_size": 4,
        "cross_documents": False,
        "validate_every": 1,
        "log_every": 1,
        "threads": 1,
        "model__n_layers": 1,
        "model__n_heads": 2,
        "model__width": 16,
        "evaluation__lengths": [17, 41, 60],
        "evaluation__resamples": 20,
    }
    asked |= {f"dataset__{key}": value for key, value in SIZES.items()}
    return given(**asked | changes)


def test_a_run_reports_the_losses_of_answers_alone(tmp_path, caplog):
    caplog.set_level("INFO")
    outcome = run.train(ask("copy", tmp_path), [])
    splits = made("copy", tmp_path)
    model = build(splits)
    inputs, targets, _ = batch(splits, 4)
    first = files.read_jsonl(outcome.folder / "metrics.jsonl")[0]
    answers = torch.from_numpy(splits.answers(targets.numpy()))
    assert first["train/loss"] == pytest.approx(
        model.losses(inputs, targets)[answers].mean().item(), rel=1e-5
    )
    last = files.read_jsonl(outcome.folder / "metrics.jsonl")[-1]
    (folder,) = (path for path in (outcome.folder / "evaluation").iterdir() if path.is_dir())
    at_train = {row["metric"]: row for row in lengths_csv(folder) if row["eval_length"] == str(L)}
    assert last["validation/loss"] == pytest.approx(
        float(at_train["loss"]["value"]), rel=1e-5
    )  # the same five documents
    assert {row["metric"] for row in lengths_csv(folder)} == {
        "loss",
        "perplexity",
        "bits_per_byte",
        "bigram",
        "below_bigram",
        "exact_match",
        "token_accuracy",
    }
    # 41 symbols: 19 symbols and the end are answers, of each of five documents
    assert {row["n_tokens"] for row in at_train.values()} == {"100"} and {
        row["n_documents"] for row in at_train.values()
    } == {"5"}
    assert len(list((outcome.folder / "figures").glob("*exact_match_by_length.svg"))) == 1
    said = json.loads((folder / "settings.json").read_text())["chance"]
    assert [row["eval_length"] for row in said] == [17, 41, 60] and all(
        0 <= row["token_accuracy"] < 0.2 for row in said
    )
    assert "whole: tokens  exact match" in caplog.text


def lengths_csv(folder):
    with open(folder / "lengths.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_training_windows_must_be_whole(tmp_path):
    with pytest.raises(DataError, match=r"give train_length=41 \(or dataset.document_length\)"):
        run.train(ask("copy", tmp_path, train_length=40), [])


def test_the_run_decides_what_the_options_leave_open(tmp_path):
    """A task alone is enough: documents as long as the run's windows, and never part of one."""
    asked = ask("copy", tmp_path, cross_documents=True, evaluation__lengths=[17, 30, 60])
    asked["dataset"] = {"name": "copy", "train_documents": 20, "validation_documents": 3}
    config = train_config.check(asked)
    assert config.dataset["document_length"] == L
    assert config.dataset["lengths"] == [17, 30, L, 60]
    assert config.settings.cross_documents is False and asked["cross_documents"] is True
    # what is written is what was trained on, and an evaluation at other lengths keeps it
    again = config.as_dict() | {"evaluation": {"lengths": [30]}, "train_length": 50}
    assert train_config.check(again).dataset == config.dataset
    rows = lengths_csv(run.train(asked, []).evaluation)
    assert {int(row["eval_length"]) for row in rows} == {17, 30, L, 60}


def test_text_is_left_as_it_is():
    config = train_config.check(given(dataset="lag_copy", cross_documents=True))
    assert config.settings.cross_documents and config.dataset["document_length"] == 4096


def test_lengths_that_no_run_decides_are_refused():
    for missing in ("document_length", "lengths"):
        with pytest.raises(ConfigError, match=rf"dataset\.{missing}=null: expected a number"):
            source("copy", **{missing: None})


def test_a_batch_of_whole_documents(tmp_path):
    splits = made("copy", tmp_path)
    inputs, targets = batches.whole(splits.validation, 60, 3)
    expected = [
        splits.validation.document(i) for i in range(10, 13)
    ]  # after five of 17 and five of 41
    assert torch.equal(inputs, torch.stack(expected)[:, :-1]) and torch.equal(
        targets, torch.stack(expected)[:, 1:]
    )
    with pytest.raises(DataError, match="no document of exactly 51 tokens among 15"):
        batches.whole(splits.validation, 50, 3)


# exact match


class Solver(models.Transformer):
    """A model that works out the answer of a copy from the tokens before it, with certainty.

    `mistake` changes what it answers.
    """

    def __init__(self, splits, mistake=lambda prompt, said, place: said):
        torch.nn.Module.__init__(self)
        self.real, self.mistake, self.vocab_size = build(splits), mistake, splits.vocab_size
        self.scheme = self.real.scheme
        self.real.forward = self.solve
        self.real.logits = lambda hidden: hidden

    def next(self, tokens):
        """Tokens (begin, prompt, separator, some of the answer) -> the next one.

        The pad where nothing is asked.
        """
        n = self.vocab_size - 4
        if n not in tokens or n + 1 in tokens:
            return n + 2
        separator = tokens.index(n)
        prompt, place = tokens[1:separator], len(tokens) - separator - 1
        said = prompt[place] if place < len(prompt) else n + 1
        return self.mistake(prompt, said, place)

    def solve(self, tokens):
        said = [[self.next(row[: t + 1]) for t in range(len(row))] for row in tokens.tolist()]
        return 20.0 * torch.nn.functional.one_hot(torch.tensor(said), self.vocab_size).float()

    def losses_and_hits(self, tokens, targets, first=0):
        return self.real.losses_and_hits(tokens, targets, first)


def read(model, splits, lengths, hits=True):
    requests = whole_documents.plan(splits.validation.lengths, lengths, 96)
    return score(
        model,
        splits.validation,
        requests,
        tokens_per_batch=200,
        device=torch.device("cpu"),
        hits=hits,
    )


def evaluated(model, splits, folder, lengths=(17, 41, 60), **identity):
    settings = EvaluationConfig(resamples=100, lengths=list(lengths))
    identity = IDENTITY | {"train_length": L} | identity
    scored = read(model, splits, lengths)
    written = writing.write(
        folder, scored, splits, identity, train_length=L, dtype="fp32", settings=settings, origin={}
    )
    return written, {(row["metric"], row["eval_length"]): row for row in written}


def test_a_model_that_is_right_matches_everywhere(tmp_path):
    splits = made("copy", tmp_path)
    written, found = evaluated(Solver(splits), splits, tmp_path / "e")
    for length in (17, 41, 60):
        row = found["exact_match", length]
        assert (
            row["value"] == 1.0
            and row["high"] == 1.0
            and row["low"] == pytest.approx(1 / (1 + 1.959964**2 / 5), abs=1e-6)
        )
        assert found["token_accuracy", length]["value"] == 1.0
        answer = (length - 2) // 2 + 1
        assert row["n_documents"] == 5 and row["n_tokens"] == 5 * answer
        assert found["loss", length]["value"] == pytest.approx(
            math.log1p((splits.vocab_size - 1) * math.exp(-20)), abs=1e-6
        )
    lines = last_lines.lines(written)
    assert any("exact match" in line for line in lines) and any(
        line.split()[:2] == ["60", "1.000"] for line in lines
    )
    table = tables.read_table(tmp_path / "e" / "documents.csv", records.DOCUMENTS)
    assert (
        set(table["n_tokens"]) == {8, 20, 30}
        and set(table["n_bytes"]) == {8, 20, 30}
        and table["loss_sum"].max() < 1e-4
    )
    with np.load(tmp_path / "e" / "losses.npz") as arrays:
        hits, answers = arrays["whole/41/hits"], arrays["whole/41/answers"]
        assert (
            hits.shape == (1, 5, 41)
            and answers.shape == (5, 41)
            and answers.sum() == 100
            and hits[0][answers].all()
        )
        assert (
            (hits[0] & ~answers).sum() == 5
        )  # the solver says pad where nothing is asked: 41 symbols leave one, that does not count
    assert table["n_tokens"].sum() == 5 * (8 + 20 + 30)


OFF_BY_ONE = {
    "one place early": lambda prompt, said, place: (
        prompt[max(place - 1, 0)] if place < len(prompt) else said
    ),
    "never ends": lambda prompt, said, place: said if place < len(prompt) else prompt[-1],
    "ends too soon": lambda prompt, said, place: said if place < len(prompt) - 1 else 33,
    "wrong at first": lambda prompt, said, place: said if place else (said + 1) % 32,
}


@pytest.mark.parametrize("kind", OFF_BY_ONE)
def test_one_wrong_symbol_is_no_match(kind, tmp_path):
    splits = made("copy", tmp_path)
    _, found = evaluated(Solver(splits, OFF_BY_ONE[kind]), splits, tmp_path / "e")
    assert splits.answers(np.array([0, 32, 0, 33])).tolist() == [
        False,
        False,
        True,
        True,
    ]  # 33 is the end
    for length in (17, 41, 60):
        assert (
            found["exact_match", length]["value"] == 0.0
            and found["exact_match", length]["low"] == 0.0
        )
        n, wrong = 5 * ((length - 2) // 2 + 1), 5
        accuracy = found["token_accuracy", length]["value"]
        if kind in ("never ends", "wrong at first"):
            assert accuracy == pytest.approx(1 - wrong / n)
        assert 0 <= accuracy < 1


def test_a_mistake_beyond_a_size_shows_at_the_lengths_beyond_it(tmp_path):
    splits = made("copy", tmp_path)
    _, found = evaluated(
        Solver(splits, lambda prompt, said, place: said if place < 19 else prompt[0]),
        splits,
        tmp_path / "e",
    )
    assert [found["exact_match", length]["value"] for length in (17, 41, 60)] == [1.0, 0.0, 0.0]
    _, found = evaluated(
        Solver(splits, lambda prompt, said, place: said if place < 20 else prompt[0]),
        splits,
        tmp_path / "f",
    )
    assert [found["exact_match", length]["value"] for length in (17, 41, 60)] == [1.0, 1.0, 0.0]


def test_teacher_forcing_matches_where_greedy_decoding_does(tmp_path):
    """By decoding: a solver whose mistakes depend on all tokens before is right just as often."""
    splits = made("copy", tmp_path, validation_documents=40, n_symbols=4)

    def mistaken(prompt, said, place):
        return (
            said
            if (sum(7**i * s for i, s in enumerate(prompt)) + 31 * place * said) % 23
            else (said + 1) % 4
        )

    solver = Solver(splits, mistaken)
    for one in read(solver, splits, [17, 41]):
        matched = exact_match.matches(one.hits, exact_match.answers_of(one.request, splits))
        decoded = []
        for window in one.request.windows:
            document = splits.validation.document(window.document).tolist()
            text = document[: document.index(4) + 1]
            while len(text) < len(document) and text[-1] != 5:
                text.append(solver.next(text))
            decoded.append(float(text == document[: document.index(5) + 1]))
        assert matched.tolist() == decoded and 0 < np.mean(decoded) < 1


def test_a_real_models_hits_are_its_most_likely_tokens(tmp_path):
    splits = made("copy", tmp_path, n_symbols=2)
    model = build(splits)
    (one,), (plain,) = read(model, splits, [41]), read(model, splits, [41], hits=False)
    assert (
        plain.hits is None and 0.1 < one.hits.mean() < 0.9
    )  # an untrained model is right at times
    np.testing.assert_allclose(plain.losses, one.losses, rtol=0, atol=1e-6)
    for row, window in enumerate(one.request.windows):
        tokens = splits.validation.document(window.document)
        with torch.no_grad():
            said = model.logits(model(tokens[None, :-1]))[0].argmax(-1)
        assert one.hits[0, row].tolist() == (said == tokens[1:]).tolist()


def test_random_positions_match_in_the_mean_over_draws(tmp_path):
    splits = made("parity", tmp_path, validation_documents=30)
    model = build(splits, "randomised")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(
                0.5
                * torch.randn(
                    parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())
                )
            )
    _, found = evaluated(model, splits, tmp_path / "e")
    with np.load(tmp_path / "e" / "losses.npz") as arrays:
        hits, answers = arrays["whole/41/hits"], arrays["whole/41/answers"]
    assert hits.shape == (model.scheme.draws, 30, 41) and model.scheme.draws > 1
    by_draw = [np.mean([hits[k, w][answers[w]].all() for w in range(30)]) for k in range(len(hits))]
    assert found["exact_match", 41]["value"] == pytest.approx(np.mean(by_draw))
    assert (
        "loss_by_draw"
        not in json.loads((tmp_path / "e" / "settings.json").read_text())["outcomes"][0]
    )


def test_a_length_that_is_refused_is_a_row_and_a_cross(tmp_path):
    splits = made("copy", tmp_path)
    _, found = evaluated(build(splits, "learned", tail="refuse"), splits, tmp_path / "e")
    row = found["exact_match", 60]
    assert (
        row["status"] == "refused"
        and row["value"] is None
        and found["exact_match", 41]["status"] == "ok"
    )
    summary = summary_of(tmp_path / "e")
    assert summary["exact_match"].isna().tolist() == [False, False, True]
    with drawing.fixed_style():
        shown = [
            text.get_text()
            for text in by_length.exact_match_by_length(summary).findobj(
                lambda artist: hasattr(artist, "get_text")
            )
        ]
    assert any("refuses > 41" in text for text in shown)


def summary_of(*folders):
    found = tables.read_evaluations(folders)
    return tables.summarise(found.documents, found.lengths)


def test_seeds_are_summed_up(tmp_path):
    """Two seeds, right and wrong at 60: the mean, and an interval that holds both."""
    splits = made("copy", tmp_path)
    kinds = [
        lambda prompt, said, place: said,
        lambda prompt, said, place: said if place < 20 else prompt[0],
    ]
    for seed, mistake in enumerate(kinds):
        evaluated(
            Solver(splits, mistake),
            splits,
            tmp_path / str(seed),
            [41, 60],
            seed=seed,
            run=f"r{seed}",
        )
    alone, both = summary_of(tmp_path / "0"), summary_of(tmp_path / "0", tmp_path / "1")
    assert alone["exact_match"].tolist() == [1.0, 1.0] and alone[
        "exact_match_low"
    ].tolist() == pytest.approx([0.5655, 0.5655], abs=1e-4)
    assert both["exact_match"].tolist() == [1.0, 0.5] and both["n_seeds"].tolist() == [2, 2]
    assert both["exact_match_low"].iloc[1] == 0.0 and both["exact_match_high"].iloc[1] == 1.0
    assert (
        0.3 < both["exact_match_low"].iloc[0] <= alone["exact_match_low"].iloc[0]
    )  # the same five documents, read by two seeds
    assert "1.000] | 0.500 [0.000, 1.000] |" in markdown.summary([both], {})
    tables.write_table(tmp_path / "s.csv", both, tables.SUMMARY)
    assert tables.read_table(tmp_path / "s.csv", tables.SUMMARY)["exact_match"].tolist() == [
        1.0,
        0.5,
    ]


@pytest.mark.parametrize(("right", "n"), [(0, 48), (48, 48), (1, 48), (24, 48), (7, 9), (0, 1)])
def test_wilsons_interval(right, n):
    expected = stats.binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert exact_match.wilson(right, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("name", ["copy", "sorting", "parity", "mqar"])
def test_chance_is_the_commonest_answer_after_the_token_before(name, tmp_path):
    splits, dataset = made(name, tmp_path, validation_documents=12), source(name)
    after = {}
    for document in documents(dataset, "train"):
        for place in asked(name, dataset.config, dataset, document):
            after.setdefault(document[place - 1], Counter())[document[place]] += 1
    guess = {
        before: min(counts, key=lambda symbol: (-counts[symbol], symbol))
        for before, counts in after.items()
    }
    requests = whole_documents.plan(splits.validation.lengths, [17, 41, 60], 96)
    for said, request in zip(exact_match.chance(splits, requests), requests, strict=True):
        hits = []
        for window in request.windows:
            document = splits.validation.document(window.document)[1:].tolist()
            hits.append(
                [
                    guess.get(document[p - 1]) == document[p]
                    for p in asked(name, dataset.config, dataset, document)
                ]
            )
        assert said["eval_length"] == request.eval_length
        assert said["exact_match"] == pytest.approx(np.mean([all(row) for row in hits]))
        assert said["token_accuracy"] == pytest.approx(np.mean(list(itertools.chain(*hits))))


def test_chance_is_what_a_task_lets_one_guess(tmp_path):
    """A parity is guessed in half of the documents, a copy in none.

    In a sorted string much can be said without the prompt.
    """
    found = {}
    for name in ("parity", "copy", "sorting"):
        splits = made(
            name,
            tmp_path,
            validation_documents=200,
            **({"n_symbols": 4} if name == "sorting" else {}),
        )
        (found[name],) = exact_match.chance(
            splits, whole_documents.plan(splits.validation.lengths, [41], 200)
        )
    assert (
        0.4 < found["parity"]["exact_match"] < 0.6
        and found["parity"]["token_accuracy"] == (1 + found["parity"]["exact_match"]) / 2
    )
    assert found["copy"]["exact_match"] == 0.0 and found["copy"]["token_accuracy"] < 0.1
    assert found["sorting"]["token_accuracy"] > 0.6
