"""The whole page from its parts: what the results hold, in the order that a reader needs it."""

from collections.abc import Callable, Sequence
from pathlib import Path

from lengthgen import __version__
from lengthgen.reporting.page import costs, results_section, set_ups
from lengthgen.reporting.page.content import Block, Page, Section, Text
from lengthgen.reporting.page.numbers import counted

TITLE = "Which positional scheme holds up on sequences longer than it was trained on?"


def page(
    results: Path,
    studies: Section,
    decisions: Section,
    title: str,
    with_runs: bool,
    on_fault: Callable[[str], None],
) -> Page | None:
    """None where there is nothing to show. studies, decisions: of the rooms above this one.

    with_runs: runs of results/runs, too, that are in no published folder. on_fault: gets a line
    for whatever is damaged, which is left out.
    """
    faults: list[str] = []

    def note(line: str) -> None:
        faults.append(line)
        on_fault(line)

    found = set_ups.published(results, note)
    if with_runs:
        found += set_ups.unpublished(results, found, note)
    found.sort(key=lambda one: one.evidence, reverse=True)
    benches = list(costs.folds(results))
    if not (found or studies or decisions or benches):
        return None
    runs = {run["run"] for one in found for run in one.note.get("runs", [])}
    schemes = {scheme for one in found for scheme in one.summary["scheme"]}
    counts = {
        "schemes": len(schemes),
        "set-ups": len(found),
        "runs in them": len(runs),
        "studies": len([block for block in studies.blocks if not isinstance(block, Text)]) - 1,
    }
    facts = [(name, f"{count:,}") for name, count in counts.items() if count > 0]
    sections = [
        *results_section.sections(found),
        studies,
        decisions,
        Section("costs", "Costs", _costs(benches), "Costs"),
        Section("provenance", "Where the numbers come from", _origins(found), "Provenance"),
    ]
    made_by = (
        f"Made by lengthgen {__version__} from the tables in results/, with `lengthgen report`. "
        "The page is one file and asks no network for anything. Curves: uPlot (MIT)."
    )
    return Page(title, results_section.QUESTION, facts, sections, made_by, faults)


def _costs(folds: Sequence[Block]) -> list[Block]:
    if not folds:
        return []
    text = (
        f"{counted(len(folds), 'set')} of measurements by `lengthgen bench`: medians over rounds "
        "in which all take turns, with quartiles below."
    )
    return [Text(text), *folds]


def _origins(found: Sequence[set_ups.SetUp]) -> list[Block]:
    if not found:
        return []
    text = (
        "Every number above stands in a file of results/ and was made by the commands here; the "
        "same command makes it again. Studies name theirs in their own part."
    )
    return [Text(text), *results_section.origins(found)]
