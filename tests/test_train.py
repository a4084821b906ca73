"""The loop: what it computes, and that stopping anywhere and going on gives the same bits."""

import contextlib
import copy

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lengthgen import model as models
from lengthgen import schemes
from lengthgen.errors import NonFiniteError
from lengthgen.model import ModelConfig
from lengthgen.training import loop, optim
from lengthgen.training.checkpoint import weights_sha256
from lengthgen.training.optim import OptimConfig

STEPS = 6


def fresh(scheme="t5_bias", dropout=0.0):
    cls = schemes.load(scheme)
    config = ModelConfig(n_layers=1, n_heads=2, width=8, dropout=dropout)
    model = models.build(config, cls, cls.Config(), train_length=12, vocab_size=7, seed=3)
    optimizer = optim.make_optimizer(model, OptimConfig(lr=0.01))
    return loop.TrainState(
        model, optimizer, optim.make_scheduler(optimizer, OptimConfig(lr=0.01), STEPS)
    )


def batch_at(step):
    tokens = torch.randint(0, 7, (4, 13), generator=torch.Generator().manual_seed(step))
    return tokens[:, :-1], tokens[:, 1:]


def go(state, steps=STEPS, **options):
    reports = []
    loop.train(state, batch_at, steps=steps, seed=0, after_reading=reports.extend, **options)
    return reports


@pytest.mark.parametrize("scheme", ["learned", "t5_bias", "fire", "per_offset"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_stopped_after_any_step_and_gone_on_gives_the_same_bits(scheme, dropout):
    whole = fresh(scheme, dropout)
    reports = go(whole)
    for stop in range(STEPS):
        first = fresh(scheme, dropout)
        go(first, stop)
        kept = copy.deepcopy(first.state_dict())
        torch.manual_seed(999)  # the process that goes on has another random state
        second = fresh(scheme, dropout)
        second.load_state_dict(kept)
        rest = go(second)
        assert weights_sha256(second.model) == weights_sha256(whole.model)
        assert [r.loss for r in rest] == [r.loss for r in reports[stop:]]


def test_reports_say_what_was_done():
    state = fresh("none")
    inputs, targets = batch_at(0)
    expected = state.model.losses(inputs, targets).mean().item()
    reports = go(state)
    assert [r.step for r in reports] == list(range(1, STEPS + 1))
    assert reports[0].loss == pytest.approx(expected, rel=1e-6)
    assert reports[0].tokens == 48
    assert reports[0].lr == pytest.approx(0.01)
    assert reports[-1].lr < reports[0].lr


def test_accumulated_gradients_equal_those_of_the_whole_batch():
    inputs, targets = batch_at(0)
    whole, parts = fresh(), fresh()
    a = loop.forward_backward(whole.model.total_loss, inputs, targets, 1, contextlib.nullcontext)
    b = loop.forward_backward(parts.model.total_loss, inputs, targets, 4, contextlib.nullcontext)
    assert a.item() == pytest.approx(b.item(), rel=1e-6)
    for p, q in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad)


def test_clipping_bounds_the_update_and_zero_means_none():
    clipped, free = fresh(), fresh()
    norm = go(clipped, 1, clip=1e-3)[0].grad_norm
    assert norm == go(free, 1, clip=0.0)[0].grad_norm > 1e-3
    assert weights_sha256(clipped.model) != weights_sha256(free.model)


def test_a_loss_that_is_not_finite_stops_before_the_weights_are_touched():
    state = fresh()
    go(state, 2)
    before = weights_sha256(state.model)
    kept = copy.deepcopy(state.optimizer.state_dict())
    sick = {"total_loss": lambda x, y: state.model.total_loss(x, y) * float("nan")}
    with pytest.raises(
        NonFiniteError, match=r"step 3: loss nan.*first in scheme.table.*lower optim.lr"
    ):
        loop.train(state, batch_at, steps=STEPS, seed=0, **sick)  # what happens by default
    assert weights_sha256(state.model) == before and state.step == 3
    reports = go(state, **sick)
    assert weights_sha256(state.model) == before and state.step == STEPS
    assert [(r.step, r.finite) for r in reports] == [(4, False), (5, False), (6, False)]
    for one, other in zip(
        kept["state"].values(), state.optimizer.state_dict()["state"].values(), strict=True
    ):
        assert all(torch.equal(one[name], other[name]) for name in one)


def spoiled(state, name, row):
    """Makes the gradient of one row of a parameter NaN, at the third step."""
    parameter, calls = dict(state.model.named_parameters())[name], []

    def spoil(gradient):
        calls.append(1)
        if len(calls) == 3:
            gradient = gradient.clone()
            gradient[row] = float("nan")
        return gradient

    parameter.register_hook(spoil)


@pytest.mark.parametrize(
    ("scheme", "name", "row"),
    [
        ("learned", "scheme.table", 5),
        ("t5_bias", "scheme.table", (0, 1)),
        ("none", "blocks.0.mlp.up.weight", 0),
        ("none", "norm.weight", 1),
    ],
)
@pytest.mark.parametrize("waits", [True, False])
def test_a_gradient_that_is_not_finite_is_named_and_skipped(scheme, name, row, waits):
    state, without = fresh(scheme), fresh(scheme)
    name = next(n for n, _ in state.model.named_parameters() if n.startswith(name))
    spoiled(state, name, row)
    reports = go(state, read_after=lambda step: waits)
    assert [r.bad_parameter for r in reports] == ["", "", name, "", "", ""]
    assert [r.finite for r in reports] == [r.step != 3 for r in reports]
    # As if that batch had not been: not computed at all.
    go(without, left_out=[3])
    assert weights_sha256(state.model) == weights_sha256(without.model)


@pytest.mark.parametrize("left_out", [[1], [6], [2, 3], [1, 2, 3, 4, 5, 6]])
@pytest.mark.parametrize("waits", [True, False])
def test_a_batch_that_is_left_out_is_not_computed(left_out, waits):
    state, read = fresh(), []
    before = weights_sha256(state.model)
    reports = []
    loop.train(
        state, lambda step: read.append(step + 1) or batch_at(step), steps=STEPS, seed=0,
        read_after=lambda step: waits, after_reading=reports.extend, left_out=left_out,
    )  # fmt: skip
    assert [r.step for r in reports] == list(range(1, STEPS + 1))
    assert [r.step for r in reports if r.left_out] == left_out
    assert read == [step for step in range(1, STEPS + 1) if step not in left_out]
    assert (weights_sha256(state.model) == before) == (len(left_out) == STEPS)


class Sick:
    """The model's loss, but at one call."""

    def __init__(self, model, call, sick):
        self.model, self.call, self.sick, self.calls = model, call, sick, 0

    def __call__(self, x, y):
        self.calls += 1
        loss = self.model.total_loss(x, y)
        return self.sick(loss) if self.calls == self.call else loss


def test_steps_that_the_host_reads_later_compute_the_same():
    whole, later = fresh(), fresh()
    seen = []
    reports = go(whole)
    loop.train(
        later, batch_at, steps=STEPS, seed=0, read_after=lambda step: step == 4,
        after_reading=lambda some: seen.append((later.step, some)),
    )  # fmt: skip
    assert weights_sha256(later.model) == weights_sha256(whole.model)
    assert [(step, len(some)) for step, some in seen] == [(4, 4), (6, 2)]  # the last one too
    same = [(r.step, r.loss, r.grad_norm, r.lr) for _, some in seen for r in some]
    assert same == [(r.step, r.loss, r.grad_norm, r.lr) for r in reports]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_fault_that_is_read_later_has_touched_no_weight(bad):
    state = fresh()
    go(state, 2)
    before = weights_sha256(state.model)
    loss = Sick(state.model, 1, lambda x: x * bad)  # and those after it are well
    seen = []

    def after(reports):
        seen.append([(r.step, r.finite) for r in reports])

    loop.train(
        state, batch_at, steps=STEPS, seed=0, total_loss=loss, read_after=lambda step: False,
        after_reading=after,
    )  # fmt: skip
    # Seen at the last step only; the steps after it were done as if its batch had not been.
    assert seen == [[(3, False), (4, True), (5, True), (6, True)]]
    assert weights_sha256(state.model) != before
    without = fresh()
    go(without, left_out=[3])
    assert weights_sha256(state.model) == weights_sha256(without.model)


def test_steps_before_one_that_breaks_are_reported():
    def broken(loss):
        raise RuntimeError("out of memory")

    state, reports = fresh(), []
    with pytest.raises(RuntimeError, match="out of memory"):
        loop.train(
            state, batch_at, steps=STEPS, seed=0, total_loss=Sick(state.model, 4, broken),
            read_after=lambda step: False, after_reading=reports.extend,
        )  # fmt: skip
    assert [r.step for r in reports] == [1, 2, 3] and state.step == 3


class Fetched(TorchDispatchMode):
    """Operations by which the host waits for a number of the device."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if "_local_scalar_dense" in func.name() or func.name() == "aten::nonzero":
            self.names.append(func.name())
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("scheme", ["none", "t5_bias", "fire", "rope", "fox", "learned"])
def test_between_two_readings_the_host_fetches_nothing(scheme):
    state = fresh(scheme)
    go(state, 1)  # buffers that are made once
    waits = []
    with Fetched() as fetched:
        go(state, 5, read_after=lambda step: waits.append(len(fetched.names)) or False)
    assert waits == [0] * 3  # after steps 2, 3 and 4; the fifth is the last one, and read
    # What the mode looks for is found where it is.
    with Fetched() as fetched:
        torch.ones(3).sum().item()
    assert fetched.names == ["aten::_local_scalar_dense"]


def test_it_learns_a_constant_sequence():
    state = fresh("none")
    optimizer = optim.make_optimizer(state.model, OptimConfig(lr=0.05))
    state = loop.TrainState(
        state.model, optimizer, optim.make_scheduler(optimizer, OptimConfig(lr=0.05), 40)
    )
    same = torch.full((2, 12), 3)
    losses = []
    loop.train(
        state,
        lambda step: (same, same),
        steps=40,
        seed=0,
        after_reading=lambda reports: losses.extend(r.loss for r in reports),
    )
    assert losses[0] > 1.5 and losses[-1] < 0.05
