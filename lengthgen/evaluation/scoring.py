"""Per-token losses of the windows that the protocols ask for, with as few forward passes as is exact.

For a prefix-consistent scheme the losses of a window are a prefix of those of any longer window with the same start. Windows of
all protocols and lengths are therefore merged by (document, start): only the longest is run. Other schemes get one
forward pass per window and length.

Shape letters: B windows in a batch, T tokens in a window, P scored positions.
"""

import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from lengthgen.data.tokens import TokenStore
from lengthgen.errors import ConfigError
from lengthgen.evaluation import hard_window
from lengthgen.evaluation.planners import Request, Window
from lengthgen.model import Transformer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scored:
    """A request's outcome. status: ok | refused | oom | nonfinite; `reason` in words unless ok.

    losses: (windows, P) float32 nats, windows in the request's order; None unless status is ok or nonfinite. Where a scheme draws its
    positions at random (Scheme.draws), each is the mean over the draws, and by_draw has the mean of all of them for each draw.
    hits: (draws, windows, P) bool, was the target the token that the model thought most likely? None unless asked for.
    """

    request: Request
    status: str
    reason: str
    losses: np.ndarray | None
    by_draw: tuple[float, ...] = ()
    hits: np.ndarray | None = None


def score(
    model: Transformer,
    store: TokenStore,
    requests: list[Request],
    *,
    tokens_per_batch: int,
    device: torch.device,
    autocast: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext,
    progress: Callable[[int, int], None] = lambda done, total: None,
    hits: bool = False,
) -> list[Scored]:
    """Score every request. A length that the scheme refuses, or that does not fit in memory, is an outcome; the others go on.

    Requests of the hard_window protocol are scored after the others, with the model confined to a window (hard_window.py).
    """
    model.eval()
    how = (hits, tokens_per_batch, device, autocast, progress)
    confined = [request.protocol == hard_window.PROTOCOL for request in requests]
    parts = [
        [
            request
            for request, is_confined in zip(requests, confined, strict=True)
            if is_confined == wanted
        ]
        for wanted in (False, True)
    ]
    free, within = (
        iter(_score_draws(model, store, parts[0], *how)),
        iter(_score_confined(model, store, parts[1], *how)),
    )
    return [next(within if is_confined else free) for is_confined in confined]


def _score_confined(model, store, requests, *how) -> list[Scored]:
    if not requests:
        return []
    try:
        with hard_window.confined(model):
            return _score_draws(model, store, requests, *how)
    except ConfigError as error:
        return [Scored(request, "refused", str(error), None) for request in requests]


def _score_draws(
    model, store, requests, hits, tokens_per_batch, device, autocast, progress
) -> list[Scored]:
    draws, passes = model.scheme.draws, []
    for draw in range(draws):
        model.scheme.use_draw(draw)

        def advance(done: int, total: int, before: int = draw) -> None:
            progress(before * total + done, draws * total)

        passes.append(
            _score_draw(model, store, requests, hits, tokens_per_batch, device, autocast, advance)
        )
    return (
        passes[0] if draws == 1 else [_averaged(outcomes) for outcomes in zip(*passes, strict=True)]
    )


def _averaged(outcomes: Sequence[Scored]) -> Scored:
    """One outcome of several draws: the first that failed, else the mean of each token's losses."""
    for one in outcomes:
        if one.status != "ok":
            return one
    losses = np.mean([one.losses for one in outcomes], axis=0, dtype=np.float64).astype(np.float32)
    hits = None if outcomes[0].hits is None else np.concatenate([one.hits for one in outcomes])
    by_draw = tuple(float(one.losses.mean(dtype=np.float64)) for one in outcomes)
    return replace(outcomes[0], losses=losses, by_draw=by_draw, hits=hits)


def _score_draw(
    model, store, requests, hits, tokens_per_batch, device, autocast, progress
) -> list[Scored]:
    outcomes: dict[int, Scored] = {}
    for index, request in enumerate(requests):
        reason = model.scheme.refusal(request.eval_length)
        if reason is not None:
            outcomes[index] = Scored(request, "refused", reason, None)
    while len(outcomes) < len(requests):
        pending = [(i, r) for i, r in enumerate(requests) if i not in outcomes]
        rows, too_long = _run_all(
            model,
            store,
            [r for _, r in pending],
            hits,
            tokens_per_batch,
            device,
            autocast,
            progress,
        )
        if too_long is None:
            outcomes.update((i, _collect(request, rows)) for i, request in pending)
            break
        for (
            i,
            request,
        ) in pending:  # out of memory with a single window: give up this length and what is longer
            if request.eval_length >= too_long:
                outcomes[i] = Scored(
                    request, "oom", f"one window of {too_long} tokens does not fit in memory", None
                )
    return [outcomes[i] for i in range(len(requests))]


def _collect(request: Request, rows: dict) -> Scored:
    losses, *hits = np.stack(
        [rows[_key(w, rows)][:, w.first : w.stop] for w in request.windows], axis=1
    )
    bad = int((~np.isfinite(losses)).sum())
    status, reason = (
        ("nonfinite", f"{bad} of {losses.size} token losses are not finite") if bad else ("ok", "")
    )
    return Scored(request, status, reason, losses, hits=hits[0][None] > 0 if hits else None)


def _key(window: Window, rows: dict) -> tuple:
    merged = (window.document, window.start)
    return merged if merged in rows else (*merged, window.length)


def _jobs(model: Transformer, requests: list[Request]) -> dict[int, dict[tuple, Window]]:
    """Windows to run, by length: {length: {key: window}}; `first` is the lowest position that anything needs of it."""
    merge = model.scheme.declaration.prefix_consistent
    need: dict[tuple, Window] = {}
    for window in (w for request in requests for w in request.windows):
        key = (
            (window.document, window.start)
            if merge
            else (window.document, window.start, window.length)
        )
        known = need.get(key, window)
        need[key] = Window(
            window.document,
            window.start,
            max(known.length, window.length),
            min(known.first, window.first),
        )
    by_length: dict[int, dict[tuple, Window]] = defaultdict(dict)
    for key, window in need.items():
        by_length[window.length][key] = window
    return dict(
        sorted(by_length.items(), reverse=True)
    )  # longest first: memory faults show at once


def _run_all(
    model, store, requests, hits, tokens_per_batch, device, autocast, progress
) -> tuple[dict, int | None]:
    """Losses of every job, hits below them if wanted, {key: (1 or 2, T) float32, NaN before `first`}; or the length too long for memory."""
    rows: dict[tuple, np.ndarray] = {}
    by_length = _jobs(model, requests)
    total, done = sum(length * len(jobs) for length, jobs in by_length.items()), 0
    for length, jobs in by_length.items():
        batch = max(1, tokens_per_batch // length)
        items = sorted(jobs.items(), key=lambda item: (item[1].first, item[0]))
        while items:
            some = items[:batch]
            found = _run_batch(model, store, [window for _, window in some], hits, device, autocast)
            if found is None:
                if batch == 1:
                    return rows, length
                batch //= 2
                log.warning(
                    "out of memory at length %d: going on with %d windows a batch", length, batch
                )
                continue
            for (key, _), row in zip(some, found, strict=True):
                rows[key] = row
            items = items[len(some) :]
            done += length * len(some)
            progress(done, total)
    return rows, None


@torch.no_grad()
def _run_batch(
    model, store, windows: list[Window], hits: bool, device, autocast
) -> np.ndarray | None:
    """(B, 1 or 2, T) float32 losses, and hits if wanted, of windows of one length; None if memory ran out."""
    length, first = windows[0].length, min(window.first for window in windows)
    starts = [int(store.offsets[w.document]) + w.start for w in windows]
    tokens = torch.stack([store.tokens(start, start + length + 1) for start in starts]).to(device)
    try:
        with autocast():
            found = _read(model, tokens, first, hits)
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if (
            isinstance(error, RuntimeError)
            and not isinstance(error, torch.OutOfMemoryError)
            and "allocate memory" not in str(error)
        ):
            raise
        found = None
    if found is None:  # outside the except block: its traceback would keep the tensors alive
        if device.type == "cuda":
            torch.cuda.empty_cache()
        return None
    rows = np.full((len(windows), found.shape[1], length), np.nan, dtype=np.float32)
    rows[:, :, first:] = found.cpu().numpy()
    return rows


def _read(model, tokens: torch.Tensor, first: int, hits: bool) -> torch.Tensor:
    """(B, T + 1) tokens -> (B, 1 or 2, T - first) float32 losses, and hits if wanted."""
    if hits:
        return torch.stack(
            [
                values.float()
                for values in model.losses_and_hits(tokens[:, :-1], tokens[:, 1:], first)
            ],
            dim=1,
        )
    losses = model.losses(tokens[:, :-1], tokens[:, 1:], first)
    return losses.float()[:, None]
