"""What is asked of the diagnostics: the option `diagnostics` of `lengthgen evaluate`."""

from dataclasses import dataclass, field

from lengthgen.config import dataclass_from

DIAGNOSTICS_VERSION = (
    1  # raised when other numbers come out: older folders are then not taken for these
)
NAMES = (
    "exposure",
    "bias_curve",
    "attention_spread",
    "receptive_field",
    "phase_coverage",
    "probes",
)


@dataclass
class DiagnosticsConfig:
    which: list[str] = field(
        default_factory=lambda: list(NAMES)
    )  # the diagnostics to do, each a file in lengthgen/diagnostics
    windows: int = 4  # evaluation windows that attention_spread and receptive_field read
    documents: int = (
        16  # documents that the probes read, one window of each; half to fit, half to test
    )
    factors: list[float] | None = (
        None  # lengths as multiples of train_length; null: those of the evaluation
    )

    def __post_init__(self):
        dataclass_from.check(
            bool(self.which), f"diagnostics.which=[]: expected at least one of {', '.join(NAMES)}"
        )
        for name in self.which:
            dataclass_from.choice("diagnostics.which", name, NAMES)
        dataclass_from.check(
            self.windows > 0, f"diagnostics.windows={self.windows}: expected a positive integer"
        )
        dataclass_from.check(
            self.documents > 1,
            f"diagnostics.documents={self.documents}: expected at least 2, to fit on one and test on another",
        )
        dataclass_from.check(
            self.factors is None or (bool(self.factors) and min(self.factors) > 0),
            f"diagnostics.factors={self.factors}: expected positive numbers or null",
        )
