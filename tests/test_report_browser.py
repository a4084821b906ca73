"""`lengthgen report` in headless Chromium: it loads alone, and what a person switches works."""

import os
from pathlib import Path

import pytest

from lengthgen.cli import report
from lengthgen.reporting.page import pdf

from . import chromium
from .report_cases import write_results

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium.PROGRAM is None, reason="no Chromium on this machine"),
]
ROOT = Path(__file__).parent.parent
AXE = "LENGTHGEN_AXE"  # axe.min.js of npm's axe-core, which is not kept here
HANDS = """
const chart = document.querySelector("figure.chart"), over = () => chart.querySelector(".u-over");
const row = (name) => [...chart.querySelectorAll(".readout li")]
  .find((one) => one.querySelector(".scheme").textContent === name);
const value = (name) => row(name).querySelector(".value").textContent;
const heading = () => chart.querySelector(".at").textContent;
const point = (kind, x, y, target = over()) => {
  const box = over().getBoundingClientRect();
  target.dispatchEvent(new MouseEvent(kind, {
    bubbles: true, cancelable: true, view: window, button: 0, movementX: 1,
    clientX: box.left + x * box.width, clientY: box.top + y * box.height }));
};
const press = (key) => chart.querySelector(".plot").dispatchEvent(
  new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
const choose = (label, option) => {
  const box = [...chart.querySelectorAll(".controls label")]
    .find((one) => one.textContent.startsWith(label)).querySelector("select");
  box.value = option;
  box.dispatchEvent(new Event("change"));
};
const pixels = () => {
  const canvas = chart.querySelector(".u-wrap canvas");
  return canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data
    .reduce((sum, one, i) => (sum + one * (i % 8191)) % 1000000007, 0);
};
await wait(100);
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    results = write_results(tmp_path_factory.mktemp("project") / "results")
    path = results.parent / "report.html"
    assert report.main(["--results", str(results), "--to", str(path)]) == 0
    return path.read_text(encoding="utf-8")


@pytest.fixture
def visit(page, tmp_path):
    def visited(script: str, **settings) -> dict:
        found = chromium.visit(page, tmp_path, HANDS + script, **settings)
        assert "failed" not in found, found["failed"]
        assert found["troubles"] == [] and found["requests"] == []
        return found

    return visited


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1440, 768, 500])
def test_it_loads_alone_and_fits_its_window(visit, width, dark):
    found = visit(
        "const root = document.documentElement;"
        "return { charts: document.querySelectorAll('.u-wrap canvas').length,"
        " wide: root.scrollWidth - root.clientWidth,"
        " ground: getComputedStyle(document.body).backgroundColor };",
        width=width,
        dark=dark,
    )
    assert found["charts"] == 1 and found["wide"] <= 0
    assert found["ground"] == ("rgb(17, 22, 27)" if dark else "rgb(255, 255, 255)")


def test_the_list_shows_what_the_cursor_is_at(visit):
    found = visit("""
const before = [heading(), value("rope")];
point("mouseenter", 0.3, 0.5);
point("mousemove", 0.02, 0.9);
await wait(200);
const between = row("rope").querySelector(".between").textContent;
return { before, after: [heading(), value("rope")], between };
""")
    assert found["before"][0] == "At 2,048 tokens (4 times the training length)"
    assert found["after"][0] == "At 256 tokens (0.5 times the training length)"
    assert found["before"][1] != found["after"][1]
    low, high = (float(part) for part in found["between"].strip("[]").split(", "))
    assert low < float(found["after"][1]) < high


def test_schemes_are_switched_off_and_on(visit):
    found = visit("""
const all = pixels();
row("rope").querySelector("input").click();
await wait(100);
const without = pixels(), off = row("rope").classList.contains("off");
row("rope").querySelector("input").click();
await wait(100);
[...chart.querySelectorAll("button")].find((one) => one.textContent === "None").click();
await wait(100);
return { all, without, off, again: row("rope").classList.contains("off"), none: pixels() };
""")
    assert found["off"] and found["again"]
    assert len({found["all"], found["without"], found["none"]}) == 3


def test_metrics_and_protocols_are_switched(visit):
    found = visit("""
const words = () => [chart.querySelector(".unit").textContent, value("alibi"),
                     row("alibi").querySelector(".between").textContent];
const states = [words()];
choose("Metric", "loss_change"); states.push(words());
choose("Metric", "perplexity"); choose("Protocol", "nonoverlapping"); states.push(words());
return { states };
""")
    units, values, between = zip(*found["states"], strict=True)
    assert units == (
        "loss, nats/token (matched)",
        "change of the loss from the training length, nats/token, paired (matched)",
        "perplexity, per token (nonoverlapping)",
    )
    assert len(set(values)) == 3 and values[1][0] in "+−"
    assert not between[0].startswith("[") and between[2].startswith("[")  # words: matched alone


def test_it_zooms_and_shows_all_again(visit):
    found = visit("""
const all = pixels();
point("mousedown", 0.4, 0.5); point("mousemove", 0.5, 0.5); point("mousemove", 0.8, 0.5);
point("mouseup", 0.8, 0.5, document);
await wait(200);
const dragged = pixels();
press("Escape");
await wait(200);
const again = pixels();
press("+");
await wait(200);
return { all, dragged, again, nearer: pixels() };
""")
    assert found["all"] == found["again"]
    assert len({found["all"], found["dragged"], found["nearer"]}) == 3


def test_arrow_keys_move_between_lengths(visit):
    found = visit("""
const plot = chart.querySelector(".plot");
const seen = [plot.tabIndex, plot.getAttribute("aria-label")];
for (const key of ["ArrowLeft", "ArrowLeft", "ArrowRight", "ArrowRight", "ArrowRight"]) {
  press(key);
  seen.push(heading().split(" ")[1]);
}
return { seen, live: chart.querySelector(".at").getAttribute("aria-live") };
""")
    assert found["seen"][0] == 0 and "arrow keys" in found["seen"][1]
    assert found["seen"][2:] == ["1,536", "1,024", "1,536", "2,048", "2,048"]
    assert found["live"] == "polite"


def test_links_open_what_they_lead_to_and_commands_can_be_copied(visit):
    found = visit("""
const study = document.querySelector("#study-far"), before = study.open;
document.querySelector('a[href="#study-far"]').click();
await wait(200);
const lines = document.querySelectorAll(".commands li");
return { before, after: study.open, lines: lines.length,
         buttons: [...lines].filter((one) => one.querySelector("button")).length };
""")
    assert not found["before"] and found["after"]
    assert found["lines"] == found["buttons"] > 0


def test_it_is_printed_with_its_studies_open(page, tmp_path):
    written, paper = tmp_path / "page.html", tmp_path / "page.pdf"
    written.write_text(page, encoding="utf-8")
    pdf.print_page(written, paper)
    assert paper.read_bytes().startswith(b"%PDF-")
    assert chromium.visit(page, tmp_path, """
location.hash = "#print";
await wait(200);
return { closed: document.querySelectorAll("main > section > details:not([open])").length };
""")["closed"] == 0  # fmt: skip


def test_axe_finds_nothing_serious(page, tmp_path):
    path = os.environ.get(AXE)
    if not path:
        pytest.skip(f"{AXE} names no axe.min.js (npm pack axe-core)")
    script = Path(path).read_text(encoding="utf-8")
    if (ROOT / "results" / "length_512").is_dir():
        assert (
            report.main(["--results", str(ROOT / "results"), "--to", str(tmp_path / "r.html")]) == 0
        )
        page = (tmp_path / "r.html").read_text(encoding="utf-8")
    for dark in (False, True):
        found = chromium.visit(page, tmp_path, script + """;
for (const fold of document.querySelectorAll("details")) fold.open = true;
const { violations } = await axe.run(document, { resultTypes: ["violations"] });
return { violations: violations.map((one) => [one.impact, one.id, one.nodes[0].html]) };
""", dark=dark)  # fmt: skip
        assert [one for one in found["violations"] if one[0] in ("serious", "critical")] == []
