"""Heads or sequences spread over threads, with torch's own threads shared out among them.

Many small operations scale badly over torch's own threads, because each ends in a barrier (measured
on two idle cores: 3.7 to 4.3 times the time of one fused kernel; whole heads on two threads: 1.4
times). One thread computes a head, so that sums have a fixed order and results do not depend on
timing. Helpers are kept, because new ones at every call cost a third of a millisecond; they have
the flush-denormal setting of the thread that first called."""

import functools
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise

import torch

# At least so many matrices (chunk, keys) in a batched product; more leave the second-level cache.
MATRICES = 4
Part = tuple[slice, slice]  # sequences, heads


def pieces(batch: int, n_heads: int) -> list[Part]:
    """As many equal pieces as there are threads: of heads if they suffice, else of sequences."""
    n_threads, everything = torch.get_num_threads(), slice(None)
    if n_heads >= n_threads:
        return [(everything, heads) for heads in _split(n_heads, n_threads)]
    if batch >= n_threads:
        return [(sequences, everything) for sequences in _split(batch, n_threads)]
    return [(everything, everything)]


def head_groups(batch: int, n_heads: int) -> list[Part]:
    """Groups of heads with MATRICES for each product, if that leaves a group for every thread."""
    n_threads = torch.get_num_threads()
    # Threads share one interpreter: with larger products they wait for it less often.
    matrices = MATRICES if n_threads == 1 else 4 * MATRICES
    size = min(-(-matrices // batch), max(1, n_heads // n_threads))
    return [(slice(None), heads) for heads in _split(n_heads, -(-n_heads // size))]


def each(work: Callable[[slice, slice], None], parts: Sequence[Part]) -> None:
    """Call `work(sequences, heads)` on every part. It must write nothing that another part writes.

    The calling thread works too and takes what helpers have not begun, so that a helper that comes
    late, or never (a forked process has none), costs only speed.
    """
    n_threads = torch.get_num_threads()
    n_workers = min(n_threads, len(parts))
    # On this thread alone: then torch keeps all its threads for the operations inside.
    if n_workers == 1:
        for part in parts:
            work(*part)
        return
    waiting = deque(parts)

    @torch.no_grad()  # grad mode belongs to a thread
    def take() -> None:
        torch.set_num_threads(n_threads // n_workers)
        while waiting:
            try:
                part = waiting.popleft()
            except IndexError:  # another thread took the last one meanwhile
                return
            work(*part)

    helpers = [_helpers(n_workers - 1).submit(take) for _ in range(n_workers - 1)]
    try:
        take()
    finally:
        waiting.clear()
        # What has not begun is cancelled; what has must end before its memory is used.
        begun = [helper for helper in helpers if not helper.cancel()]
        wait(begun)
        # Last, because a helper's setting is also torch's default for threads to come.
        torch.set_num_threads(n_threads)
    for helper in begun:
        helper.result()


@functools.cache
def _helpers(n: int) -> ThreadPoolExecutor:
    """`n` threads, started when first needed and kept."""
    return ThreadPoolExecutor(n, "lengthgen")


def _split(total: int, n_parts: int) -> list[slice]:
    edges = [total * part // n_parts for part in range(n_parts + 1)]
    return [slice(first, last) for first, last in pairwise(edges)]
