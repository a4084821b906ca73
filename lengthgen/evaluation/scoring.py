"""Per-token losses of the windows that the protocols ask for, in as few forward passes as is exact.

For a prefix-consistent scheme the losses of a window begin those of any longer window with the same
start: windows are merged by (document, start), and only the longest is run. Other schemes get one
forward pass per window and length.

Shape letters: B windows of a batch, T their tokens, W windows of a request, P scored positions,
S positions from the first that is needed, K 1, or 2 with hits, D draws.
"""

import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int
from torch import Tensor

from lengthgen.data.tokens import TokenStore
from lengthgen.errors import ConfigError, is_out_of_memory
from lengthgen.evaluation import hard_window, shuffled
from lengthgen.evaluation.planners import Request, Window
from lengthgen.model import Transformer

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]  # tokens done, and in all
Key = tuple[int, ...]  # (document, start), and the length where windows are not merged
Rows = dict[Key, np.ndarray]  # (K, T) float32: losses and hits; NaN before `first`
TOKENS_ON_CPU = 8192  # in a forward pass
BYTES_A_TOKEN = 2**19  # of a GPU's memory: ten times what a model of 124M parameters takes
# Protocols that read their windows with a changed model.
CHANGED: dict[str, Callable[[Transformer], contextlib.AbstractContextManager]] = {
    hard_window.PROTOCOL: hard_window.confined,
    shuffled.PROTOCOL: shuffled.shuffled,
}


@dataclass(frozen=True)
class Scored:
    """A request's outcome. status: ok | refused | oom | nonfinite; `reason` in words unless ok.

    losses: nats; None unless status is ok or nonfinite. For a scheme that draws its positions at
    random (Scheme.draws) each is the mean over draws, and by_draw has each draw's mean over tokens.
    hits: was the target the most likely token? None unless requested.
    """

    request: Request
    status: str
    reason: str
    losses: Float32[np.ndarray, "W P"] | None
    by_draw: tuple[float, ...] = ()
    hits: Bool[np.ndarray, "D W P"] | None = None


@dataclass(frozen=True)
class Scorer:
    """What every forward pass of an evaluation shares."""

    model: Transformer
    store: TokenStore
    tokens_per_batch: int
    device: torch.device
    autocast: Callable[[], contextlib.AbstractContextManager]
    hits: bool
    # All batches of a length have one size: a GPU's compiled kernels are made for each shape.
    one_size: bool = False

    def over_draws(self, requests: Sequence[Request], progress: Progress) -> list[Scored]:
        """Score every request, once for each draw of the scheme."""
        n_draws, by_draw = self.model.scheme.draws, []
        for draw in range(n_draws):
            self.model.scheme.use_draw(draw)

            def advance(done: int, total: int, earlier: int = draw) -> None:
                progress(earlier * total + done, n_draws * total)

            by_draw.append(self.once(requests, advance))
        if n_draws == 1:
            return by_draw[0]
        return [_mean_over_draws(outcomes) for outcomes in zip(*by_draw, strict=True)]

    def once(self, requests: Sequence[Request], progress: Progress) -> list[Scored]:
        outcomes: dict[int, Scored] = {}
        for index, request in enumerate(requests):
            reason = self.model.scheme.refusal(request.eval_length)
            if reason is not None:
                outcomes[index] = Scored(request, "refused", reason, None)
        while len(outcomes) < len(requests):
            pending = {i: r for i, r in enumerate(requests) if i not in outcomes}
            rows, too_long = self.run(list(pending.values()), progress)
            if too_long is None:
                outcomes |= {i: _collect(request, rows) for i, request in pending.items()}
                break
            # Not even a single window fits: give up this length and longer ones, run the others.
            reason = f"one window of {too_long} tokens does not fit in memory"
            for i, request in pending.items():
                if request.eval_length >= too_long:
                    outcomes[i] = Scored(request, "oom", reason, None)
        return [outcomes[i] for i in range(len(requests))]

    def run(self, requests: Sequence[Request], progress: Progress) -> tuple[Rows, int | None]:
        """(the rows of every job, None), or (some of them, the length too long for memory)."""
        rows: Rows = {}
        by_length = _jobs(self.model, requests)
        total, done = sum(length * len(jobs) for length, jobs in by_length.items()), 0
        for length, jobs in by_length.items():
            batch = self.batch_of(length, len(jobs))
            # Windows that need losses from the same position on share a batch: forward computes
            # logits only from the lowest `first` of its windows.
            items = sorted(jobs.items(), key=lambda item: (item[1].first, item[0]))
            while items:
                keys, windows = zip(*items[:batch], strict=True)
                values = self.forward(windows, batch if self.one_size else len(windows))
                if values is None:
                    if batch == 1:
                        return rows, length
                    batch //= 2
                    log.warning("out of memory at length %d: %d windows per batch", length, batch)
                    continue
                rows |= zip(keys, values, strict=True)
                items = items[len(keys) :]
                done += length * len(keys)
                progress(done, total)
        return rows, None

    def batch_of(self, length: int, n_windows: int) -> int:
        """Windows of a batch: what `tokens_per_batch` allows; if of one size, as few as need be."""
        most = max(1, self.tokens_per_batch // length)
        return -(-n_windows // -(-n_windows // most)) if self.one_size else most

    @torch.no_grad()
    def forward(self, windows: Sequence[Window], size: int) -> Float32[np.ndarray, "B K T"] | None:
        """Losses, and hits if wanted, of windows of one length; None if memory ran out.

        size: of the batch; the last window fills it up.
        """
        length, first = windows[0].length, min(window.first for window in windows)
        starts = [int(self.store.offsets[w.document]) + w.start for w in windows]
        starts += starts[-1:] * (size - len(starts))
        tokens = torch.stack([self.store.tokens(s, s + length + 1) for s in starts])
        try:
            with self.autocast():
                given = tokens.to(self.device)
                # On the CPU here: a kernel's failure may show only when its result is fetched.
                values = _losses(self.model, given, first, self.hits).cpu()[: len(windows)]
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            values = None
        # Outside the except block, whose traceback would keep the tensors alive.
        if values is None:
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            return None
        rows = np.full((len(windows), values.shape[1], length), np.nan, dtype=np.float32)
        rows[:, :, first:] = values.numpy()
        return rows


def tokens_at_once(device: torch.device) -> int:
    """Tokens of a forward pass: 8,192 on CPU, on a GPU by its memory (131,072 with 80 GB)."""
    if device.type != "cuda":
        return TOKENS_ON_CPU
    memory = torch.cuda.get_device_properties(device).total_memory
    return 1 << max(13, (memory // BYTES_A_TOKEN).bit_length() - 1)


def score(
    model: Transformer,
    store: TokenStore,
    requests: Sequence[Request],
    *,
    tokens_per_batch: int | None,
    device: torch.device,
    autocast: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext,
    progress: Progress = lambda done, total: None,
    hits: bool = False,
) -> list[Scored]:
    """Score every request. One that the scheme refuses or memory has no room for is an outcome.

    tokens_per_batch: None: as `tokens_at_once` of the device.
    progress: counts anew for each of CHANGED, which come last.
    """
    model.eval()
    at_once = tokens_per_batch or tokens_at_once(device)
    one_size = device.type == "cuda"
    scorer = Scorer(model, store, at_once, device, autocast, hits, one_size)
    plain = [request for request in requests if request.protocol not in CHANGED]
    outcomes = scorer.over_draws(plain, progress)
    for protocol, change in CHANGED.items():
        if not (changed := [request for request in requests if request.protocol == protocol]):
            continue
        try:
            with change(model):
                outcomes += scorer.over_draws(changed, progress)
        except ConfigError as error:
            outcomes += [Scored(request, "refused", str(error), None) for request in changed]
    by_request = {one.request: one for one in outcomes}
    return [by_request[request] for request in requests]


def _mean_over_draws(outcomes: Sequence[Scored]) -> Scored:
    """The first draw that failed, else the mean of each token's losses."""
    failed = [one for one in outcomes if one.status != "ok"]
    if failed:
        return failed[0]
    losses = [one.losses for one in outcomes if one.losses is not None]
    hits = [one.hits for one in outcomes if one.hits is not None]
    return replace(
        outcomes[0],
        losses=np.asarray(np.mean(losses, axis=0, dtype=np.float64), np.float32),
        by_draw=tuple(float(one.mean(dtype=np.float64)) for one in losses),
        hits=np.concatenate(hits) if hits else None,
    )


def _collect(request: Request, rows: Rows) -> Scored:
    losses, *hits = np.stack(
        [rows[_key(w, rows)][:, w.first : w.stop] for w in request.windows], axis=1
    )
    bad = int((~np.isfinite(losses)).sum())
    status = "nonfinite" if bad else "ok"
    reason = f"{bad} of {losses.size} token losses are not finite" if bad else ""
    return Scored(request, status, reason, losses, hits=hits[0][None] > 0 if hits else None)


def _key(window: Window, rows: Rows) -> Key:
    merged = (window.document, window.start)
    return merged if merged in rows else (*merged, window.length)


def _jobs(model: Transformer, requests: Sequence[Request]) -> dict[int, dict[Key, Window]]:
    """Windows to run: {length: {key: window}}; `first`: the lowest position that is needed."""
    merge = model.scheme.declaration.prefix_consistent
    jobs: dict[Key, Window] = {}
    for window in (window for request in requests for window in request.windows):
        place = (window.document, window.start)
        key: Key = place if merge else (*place, window.length)
        known = jobs.get(key, window)
        length, first = max(known.length, window.length), min(known.first, window.first)
        jobs[key] = Window(*place, length, first)
    by_length: dict[int, dict[Key, Window]] = defaultdict(dict)
    for key, window in jobs.items():
        by_length[window.length][key] = window
    # Longest first: lengths that do not fit in memory show at once.
    return dict(sorted(by_length.items(), reverse=True))


def _losses(
    model: Transformer, tokens: Int[Tensor, "B T"], first: int, hits: bool
) -> Float32[Tensor, "B K S"]:
    if hits:
        both = model.losses_and_hits(tokens[:, :-1], tokens[:, 1:], first)
        return torch.stack([values.float() for values in both], dim=1)
    losses = model.losses(tokens[:, :-1], tokens[:, 1:], first)
    return losses.float()[:, None]
