"""Which diagnostics are done: the option `diagnostics` of `lengthgen evaluate`."""

from dataclasses import dataclass, field

from lengthgen.config.dataclass_from import check, choice, limit

DIAGNOSTICS_VERSION = 1  # raise when numbers change: older folders then no longer count as done
NAMES = (
    "exposure", "bias_curve", "attention_spread", "receptive_field", "phase_coverage", "probes"
)  # fmt: skip


@dataclass
class DiagnosticsConfig:
    which: list[str] = field(default_factory=lambda: list(NAMES))  # the diagnostics to do
    windows: int = 4  # evaluation windows that attention_spread and receptive_field read
    # documents that the probes read, one window of each; half to fit, half to test
    documents: int = 16
    # lengths as multiples of train_length; null: those of the evaluation
    factors: list[float] | None = None

    def __post_init__(self):
        names = ", ".join(NAMES)
        check(bool(self.which), f"diagnostics.which=[]: expected at least one of {names}")
        for name in self.which:
            choice("diagnostics.which", name, NAMES)
        limit(self, "diagnostics", "> 0", "windows")
        limit(self, "diagnostics", ">= 2", "documents")  # one to fit on, one to test on
        valid = self.factors is None or (bool(self.factors) and min(self.factors) > 0)
        check(valid, f"diagnostics.factors={self.factors}: expected positive numbers or null")
