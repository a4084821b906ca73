"""Heads or sequences spread over threads, torch's own threads shared out among them.

Many small operations scale badly over torch's own threads: each ends in a barrier (measured on two idle cores: 3.7 to 4.3 times the time
of one fused kernel; whole heads on a pool of two: 1.4 times). Every head is computed by one thread, so sums have a fixed order and
results do not depend on timing. New threads inherit the flush-denormal setting of the thread that starts them.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import torch

Part = tuple[slice, slice]  # sequences, heads


def pieces(batch: int, n_heads: int) -> list[Part]:
    """(sequences, heads) in as many equal pieces as there are threads: by heads if they suffice, else by sequences, else whole."""
    n_threads, everything = torch.get_num_threads(), slice(None)
    if n_heads >= n_threads:
        return [(everything, heads) for heads in _split(n_heads, n_threads)]
    if batch >= n_threads:
        return [(sequences, everything) for sequences in _split(batch, n_threads)]
    return [(everything, everything)]


def head_groups(batch: int, n_heads: int) -> list[Part]:
    """(all sequences, heads) in groups of at least four matrices for each batched product, and no fewer groups than threads."""
    size = min(-(-4 // batch), max(1, n_heads // torch.get_num_threads()))
    return [(slice(None), heads) for heads in _split(n_heads, -(-n_heads // size))]


def each(work: Callable[[slice, slice], None], parts: Sequence[Part]) -> None:
    """Call `work(sequences, heads)` on every part. It must write nothing that another part writes."""
    n_threads = torch.get_num_threads()
    n_workers = min(n_threads, len(parts))
    if n_workers == 1:
        for part in parts:
            work(*part)
        return

    def without_grad(part: Part) -> None:  # grad mode belongs to a thread
        with torch.no_grad():
            work(*part)

    try:
        with ThreadPoolExecutor(n_workers, initializer=torch.set_num_threads, initargs=(n_threads // n_workers,)) as pool:
            for _ in pool.map(without_grad, parts):
                pass
    finally:
        torch.set_num_threads(n_threads)  # the workers' setting is also torch's default for threads to come


def _split(total: int, n_parts: int) -> list[slice]:
    edges = [total * part // n_parts for part in range(n_parts + 1)]
    return [slice(first, last) for first, last in pairwise(edges)]
