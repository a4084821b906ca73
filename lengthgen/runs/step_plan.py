"""How a training step is computed on this machine, and what gives way where it cannot be so.

compile=null compiles on CUDA where the training is long enough to repay it. Memory that runs out
costs parts: the batch is computed in more of them, with the same gradients up to rounding. On CUDA
a first step that fails otherwise (no compiler for Triton, a kernel that the GPU has no room for) is
tried without torch.compile, then with torch's own attention, as far as both were chosen here and
not by the user. What was changed is a line of the log, and is in provenance.json.
"""

import logging
from dataclasses import dataclass, field
from typing import Any

import torch

from lengthgen.errors import ConfigError, TooLargeError, UserError, is_out_of_memory
from lengthgen.model import Transformer
from lengthgen.runs.prepare import Run
from lengthgen.runs.run_settings import RunSettings
from lengthgen.training.loop import TotalLossOf, TrainState

log = logging.getLogger(__name__)
# What torch.compile takes for a dozen layers, and the share of the remaining time that it saves:
# estimates (no GPU was at hand).
SECONDS_TO_COMPILE = 60.0
SAVED_BY_COMPILING = 0.35
# FLOPs a second of an H100 without torch.compile, and its least time for a layer: estimates too.
EAGER_FLOPS = 2e14
SECONDS_A_LAYER = 1e-3


@dataclass
class StepPlan:
    """compile, kernel: as `settings` say them, with `null` decided. accumulate: parts of a batch,
    or of a rank's rows of it.

    changes: what gave way, a sentence each.
    """

    model: Transformer
    settings: RunSettings
    compile: bool
    kernel: str
    accumulate: int
    others: list[tuple[bool, str]]  # (compile, kernel) to try after a first step that failed
    ranks: int = 1  # of several, none changes its plan: the others would not know
    changes: list[str] = field(default_factory=list)
    _compiled: TotalLossOf | None = None

    @property
    def total_loss(self) -> TotalLossOf:
        if not self.compile:
            return self.model.total_loss
        if self._compiled is None:
            self._compiled = torch.compile(self.model.total_loss)
        return self._compiled

    def give_way(self, error: Exception, first: bool) -> None:
        """Change the plan after a step that failed; raise what no plan can mend.

        first: no step has been done according to this plan. Call `clear` then.
        """
        words = " ".join(str(error).split())
        if isinstance(error, UserError):
            raise error
        if torch.are_deterministic_algorithms_enabled() and "deterministic" in words:
            raise ConfigError(
                f"deterministic=true: an operation of this model has no ordered form ({words}); "
                "give deterministic=false, or device=cpu, where all are ordered"
            ) from error
        if is_out_of_memory(error) and type(error).__name__ != "OutOfResources":
            self._compute_in_more_parts(error)
        elif first and self.others and self.ranks == 1:
            self._compute_otherwise(f"{type(error).__name__}: {words[:200]}")
        else:
            raise error
        log.warning("%s", self.changes[-1])

    def clear(self, state: TrainState) -> None:
        """Forget what the failed step left behind. Not in the except block, whose traceback would
        keep its tensors alive."""
        state.optimizer.zero_grad(set_to_none=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def facts(self) -> dict[str, Any]:
        """For provenance.json."""
        return {
            "compile": self.compile,
            "kernel": self.kernel,
            "accumulate": self.accumulate,
            "changes": self.changes,
        }

    def _compute_in_more_parts(self, error: Exception) -> None:
        size, before = self.settings.batch_size, self.accumulate
        if self.ranks > 1:
            raise TooLargeError(
                f"out of memory in training with {self.ranks} ranks: {size // self.ranks // before}"
                " windows at a time do not fit on one of them; give a larger accumulate, more "
                "ranks, or sharding=fsdp"
            ) from error
        finer = [n for n in range(2 * before, size + 1) if size % n == 0]
        if not finer:
            n_parameters = sum(parameter.numel() for parameter in self.model.parameters())
            raise TooLargeError(
                f"out of memory in training: {size // before} window of "
                f"{self.settings.train_length} tokens at a time does not fit beside a model of "
                f"{n_parameters:,} parameters; choose a shorter train_length or a smaller model"
            ) from error
        self.accumulate = finer[0]
        self.changes.append(
            f"out of memory with {size // before} windows at a time: going on with "
            f"{size // self.accumulate} (accumulate={self.accumulate}; the same gradients)"
        )

    def _compute_otherwise(self, why: str) -> None:
        before = f"compile={str(self.compile).lower()} kernel={self.kernel}"
        (self.compile, self.kernel), *self.others = self.others
        self.model.use_kernel(self.kernel)
        self._compiled = None
        torch.compiler.reset()
        self.changes.append(
            f"the first step failed with {before} ({why}); going on with "
            f"compile={str(self.compile).lower()} kernel={self.kernel}"
        )


def plan_of(run: Run, model: Transformer) -> StepPlan:
    """The plan to begin with."""
    settings, on_cuda, ranks = run.config.settings, run.device.type == "cuda", run.ranks
    compiled = settings.compile
    if run.config.start and run.config.start.pretrained:
        # Its attention asks its reader about each window: torch.compile would break its graph.
        if compiled:
            raise ConfigError(
                "compile=true with a pretrained model: expected compile=null or false"
            )
        compiled = False
    elif compiled is None:
        in_parts = settings.sharding == "fsdp" and ranks.size > 1
        compiled = on_cuda and not in_parts and repays(model, settings, ranks.size)
    parts = ranks.parts(settings.batch_size, settings.accumulate)
    compiles = [compiled, False] if compiled and settings.compile is None else [compiled]
    kernels = [settings.kernel, "sdpa"] if on_cuda and settings.kernel == "auto" else []
    order = [(c, k) for k in kernels or [settings.kernel] for c in compiles]
    return StepPlan(model, settings, compiled, settings.kernel, parts, order[1:], ranks.size)


def repays(model: Transformer, settings: RunSettings, ranks: int = 1) -> bool:
    """Whether torch.compile saves more time of this training than it takes, on fast GPUs."""
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    tokens = settings.batch_size * settings.train_length / ranks
    arithmetic = 6 * n_parameters * tokens / EAGER_FLOPS
    step = max(arithmetic, SECONDS_A_LAYER * model.scheme.dimensions.n_layers * settings.accumulate)
    return settings.steps * step * SAVED_BY_COMPILING > SECONDS_TO_COMPILE
