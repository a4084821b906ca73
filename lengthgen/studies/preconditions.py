"""What must hold before a claim can be answered at all; else its verdict is `not answerable`.

- trained: the loss at L of each arm that it names is surely below that of a bigram table of the
  training text, on the same targets (an evaluation that has no such table says nothing);
- trained enough: no run of these arms ended at its ceiling of steps while it was still learning;
- gate: a claim about the use of context on text names an arm that was trained at the longest
  length. That reference, trained to the same loss at L (within the claim's gate_tolerance, surely),
  must gain SMALLEST_GAIN nats from context beyond L: where a model that could use it gains
  nothing, every window looks perfect.

Checks of the instrument, and claims that are about training, need none of the first two. Surely:
with 95 % confidence.
"""

from collections.abc import Iterable

from lengthgen.errors import DataError
from lengthgen.statistics import comparisons, fails_or_uses
from lengthgen.studies.claims import Claim
from lengthgen.studies.grid import TARGETS
from lengthgen.studies.losses import EvaluatedArm, Material
from lengthgen.studies.measured import Mean


def reason(material: Material, claim: Claim) -> str:
    """Why a claim cannot be answered; empty where it can be."""
    named = dict.fromkeys(
        _as_trained(material, subject) for subject in (claim.subject, claim.baseline) if subject
    )
    reasons = []
    if not (claim.check or claim.about_training):
        reasons += [of_arm(material[name]) for name in named]
    if claim.gate:
        reasons.append(gate(material, claim))
    return "; ".join(filter(None, reasons))


def _as_trained(material: Material, subject: str) -> str:
    """The arm of a subject without its retrofit; weights of a step on the way stay themselves."""
    return subject.partition("+")[0] if material[subject].evaluations[0].retrofit else subject


def of_arm(arm: EvaluatedArm) -> str:
    """Why no claim about an arm can be answered: untrained, or under-trained."""
    return "; ".join(filter(None, (_untrained(arm), _under_trained(arm))))


def _untrained(arm: EvaluatedArm) -> str:
    evaluated = arm.evaluations[0]
    protocol = next((name for name in TARGETS if evaluated.lengths(name)), TARGETS[0])
    try:
        loss, table = (make(protocol, arm.train_length) for make in (arm.total, arm.bigram))
    except DataError:  # nothing was evaluated at L, or without the table
        return ""
    value, low, high = Mean(loss.minus(table)).bounds
    if high < 0:
        return ""
    return (
        f"{arm.name} is untrained: at L its loss is {value:+.3f} [{low:+.3f}, {high:+.3f}] of that "
        "of a bigram table"
    )


def _under_trained(arm: EvaluatedArm) -> str:
    found = [
        (one.seed, one.training.get("last_doubling"))
        for one in arm.evaluations
        if one.training.get("settled") is False
    ]
    if not found:
        return ""
    seeds = ", ".join(str(seed) for seed, _ in found)
    gains = [float(gain) for _, gain in found if gain is not None]
    still = f": still {max(gains):.3f} nats a doubling of steps" if gains else ""
    return f"{arm.name} is under-trained (seed {seeds}{still})"


def gate(material: Material, claim: Claim) -> str:
    """Why the claim's text, with its reference, cannot show a use of context; empty if it can."""
    if claim.gate is None:
        return ""
    subject = material[claim.subject.partition("+")[0]]
    reference = material[claim.gate]
    short, factor = subject.train_length, claim.length_factor
    long = subject.length(factor) if factor else reference.train_length
    if long <= short or reference.train_length < long:
        return (
            f"gate {claim.gate}, trained at {reference.train_length}, says nothing about "
            f"{long} tokens of context against {short}"
        )
    try:
        with_short, with_long = (reference.total("matched", n) for n in (short, long))
        above = Mean(with_short.minus(subject.total("matched", short)))
        gain = comparisons.estimate(with_short.minus(with_long))
    except DataError as error:
        return f"gate {claim.gate}: {error}"
    found = fails_or_uses.gate(gain, name=f"{claim.gate}, trained at {reference.train_length},")
    reasons = [reason for reason in found.reasons if reason]
    value, low, high = above.bounds
    if not high <= claim.gate_tolerance:
        reasons.append(
            f"{claim.gate} was not trained to the loss of {subject.name} at {short}: "
            f"{value:+.3f} [{low:+.3f}, {high:+.3f}], at most {claim.gate_tolerance:g} above it "
            "was asked for"
        )
    return "; ".join(reasons)


def of_claims(material: Material, claims: Iterable[tuple[str, Claim]]) -> dict[str, str]:
    """Claim -> why it cannot be answered, for those that cannot."""
    reasons = ((name, reason(material, claim)) for name, claim in claims)
    return {name: text for name, text in reasons if text}
