"""The section of a study's page about the forms of learned biases."""

from collections.abc import Sequence

from lengthgen.reporting import text_tables
from lengthgen.statistics.curve_forms import FORMS
from lengthgen.studies.bias_figure import LOOKS, weighted
from lengthgen.studies.sections import section
from lengthgen.studies.study_folder import Row

TEXT = """What each form explains of the heads' bias over the distances of training: of the variance
of all heads and seeds, distances weighted by the pairs that trained them, each predicted from a fit
to others. decreasing: the most that any penalty which grows with distance can explain. Then how
many heads each form explains best; constant: a standard deviation below 0.1 nats."""


def lines(heads: Sequence[Row]) -> list[str]:
    """Markdown; [] without rows of bias.csv."""
    if not heads:
        return []
    table = []
    for arm in dict.fromkeys(row["subject"] for row in heads):
        of_arm = [row for row in heads if row["subject"] == arm]
        forms = [row["form"] for row in of_arm]
        spread = (sum(row["spread"] ** 2 for row in of_arm) / len(of_arm)) ** 0.5
        table.append(
            [
                arm,
                *(f"{weighted(of_arm, form):.2f}" for form in FORMS),
                f"{spread:.2f}",
                *(str(forms.count(form)) for form in LOOKS),
            ]
        )
    head = ["", *FORMS, "spread (nats)", *(f"best: {form}" for form in LOOKS)]
    return section(
        "Forms of the bias", " ".join(TEXT.split()), text_tables.markdown(head, table, "lr")
    )
