"""The top-level keys of a training run: their defaults, and the values that they may have."""

import os
import re
from dataclasses import dataclass, field

from lengthgen.attention import kernel_names
from lengthgen.config import dataclass_from, paths

# More threads make nothing faster; thousands of them take a machine down.
MOST_THREADS, THREADS_A_CORE = 64, 4
MOST_TOKENS = 2**28  # of a step: 2 GiB of ids


@dataclass
class RunSettings:
    """The top-level keys of a training run, with the words of configs/train.yaml."""

    # of weights and batches; one seed gives every scheme the same non-positional weights
    seed: int = 0
    train_length: int = 512  # tokens in a training window, fixed for the whole training
    steps: int = 3000  # optimiser steps
    # nats: training ends when a doubling of its steps improves the loss at train_length by less
    # (`steps` at most; needs optim.schedule=stable); null: after `steps`
    settle: float | None = None
    batch_size: int = 4  # training windows a step
    # parts that a batch is computed in; more need less memory and give the same gradient
    accumulate: int = 1
    # true: a training window may run on into the next document; false: it stays inside one, as it
    # always does where windows are whole documents
    cross_documents: bool = True
    precision: str = "auto"  # auto: bf16 autocast on CUDA, fp32 on CPU; or fp32, bf16
    device: str = "auto"  # auto: CUDA where there is one; or cpu, cuda, cuda:1
    # of several ranks (torchrun): none: each has all weights (DDP); fsdp: each has a part of them
    sharding: str = "none"
    threads: int | None = None  # CPU threads; null: torch's own choice
    # products with weights; auto: the faster library on this processor; or torch, onednn
    linear: str = "auto"
    # attention kernel; auto: the fastest exact one; or cpu, sdpa, flex, reference
    kernel: str = "auto"
    # torch.compile of the training loss; null: on CUDA, where the training is long enough
    compile: bool | None = None
    # true: only operations whose result is the same bits every time, on CUDA; on CPU all are so
    deterministic: bool = False
    # true, in a sweep: runs that differ in scheme, seed and text alone are trained as one program
    together: bool = False
    log_every: int = 10  # steps between two lines of progress and metrics
    # steps between losses on held-out windows of the training length; 0: never
    validate_every: int = 100
    # steps between losses at 1, 1.5, 2 and 4 times train_length on 8 held-out documents; 0: never
    evaluate_every: int = 0
    # steps between two checkpoints; an interrupted run goes on from the newest valid one
    checkpoint_every: int = 100
    checkpoint_seconds: float = 10.0  # and at least so many seconds between them
    keep_checkpoints: int = 2  # newest checkpoints kept while training
    # steps after which the weights are kept, for `lengthgen evaluate at_step=...`
    keep_at_steps: list[int] = field(default_factory=list)
    # steps after which the weights are kept, and evaluated as those of the last step are
    evaluate_at_steps: list[int] = field(default_factory=list)
    # folder of run folders, sweeps, tables and figures; relative to the current folder
    results: str = "results"
    # folder of tokenised text; null: $LENGTHGEN_CACHE, or ~/.cache/lengthgen
    cache: str | None = None

    def __post_init__(self) -> None:
        counts = ("steps", "batch_size", "accumulate", "log_every", "checkpoint_every")
        dataclass_from.limit(self, "", "> 0", *counts, "keep_checkpoints", "threads", "settle")
        dataclass_from.limit(self, "", ">= 4", "train_length")
        dataclass_from.limit(
            self, "", ">= 0", "validate_every", "evaluate_every", "checkpoint_seconds"
        )
        dataclass_from.check(0 <= self.seed < 2**31, f"seed={self.seed}: expected 0 <= seed < 2^31")
        dataclass_from.check(
            self.batch_size % self.accumulate == 0,
            f"accumulate={self.accumulate}: expected a divisor of batch_size={self.batch_size}",
        )
        for name in ("keep_at_steps", "evaluate_at_steps"):
            dataclass_from.check(
                all(0 < step < self.steps for step in getattr(self, name)),
                f"{name}={getattr(self, name)}: expected steps from 1 to {self.steps - 1}; "
                "the last one is kept and evaluated anyway",
            )
        self.results = str(paths.folder(self.results, "results"))
        if self.cache is not None:
            self.cache = str(paths.folder(self.cache, "cache"))
        check_threads(self.threads)
        dataclass_from.check(
            self.batch_size * self.train_length <= MOST_TOKENS,
            f"batch_size={self.batch_size}, train_length={self.train_length}: expected at most "
            f"{MOST_TOKENS} tokens a step",
        )
        dataclass_from.choice("precision", self.precision, ("auto", "fp32", "bf16"))
        check_device(self.device)
        dataclass_from.choice("sharding", self.sharding, ("none", "fsdp"))
        dataclass_from.choice("linear", self.linear, kernel_names.PRODUCTS)
        dataclass_from.choice("kernel", self.kernel, kernel_names.ATTENTION)


def check_device(device: str) -> None:
    """ConfigError for what is no device, be it on this machine or another."""
    if not re.fullmatch(r"cuda:\d+", device):
        dataclass_from.choice("device", device, ("auto", "cpu", "cuda", "cuda:1"))


def check_threads(threads: int | None) -> None:
    """ConfigError for more threads than a machine of this size stands."""
    most = max(MOST_THREADS, THREADS_A_CORE * (os.cpu_count() or 1))
    dataclass_from.check(
        threads is None or threads <= most,
        f"threads={threads}: expected at most {most} on this machine, or null",
    )
