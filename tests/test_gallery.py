"""Every kind of figure at the width of a column, in colour and in grey, checked by machine."""

import functools
import itertools
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import matplotlib
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from lengthgen.cli import plot
from lengthgen.config import catalogue
from lengthgen.errors import ConfigError
from lengthgen.reporting.figures import by_length, drawing, glyphs, names, palette, ticks
from lengthgen.reporting.figures.look import Look

from . import gallery
from .fake_runs import write_runs

COLUMN = 3.35  # inches
SVG = "{http://www.w3.org/2000/svg}"
TITLES = names.titles(catalogue.folders())
LOOKS = {
    "colour": Look("paper", names=TITLES, formats=("svg", "pdf", "pgf")),
    "grey": Look("paper", names=TITLES, formats=("svg", "pdf", "pgf"), grey=True, title=False),
    "page": Look(formats=("svg",)),
    "slide": Look("slide", names=TITLES, formats=("svg",)),
}
SLOW = functools.partial(pytest.param, marks=pytest.mark.slow)


def drawn_boxes(figure) -> list:
    """(Text, its box in pixels) of every text that is drawn."""
    boxes, draw_text = [], Text.draw

    def draw(self, renderer, *arguments, **options):
        if self.get_visible() and self.get_text().strip():
            boxes.append((self, self.get_window_extent(renderer)))
        return draw_text(self, renderer, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", draw)
        FigureCanvasAgg(figure).draw()
    return boxes


@pytest.mark.parametrize("look", ["colour", *map(SLOW, ("grey", "page", "slide"))])
@pytest.mark.parametrize("kind", gallery.KINDS)
def test_no_text_is_cut_and_none_overlaps(kind, look):
    look = LOOKS[look]
    with drawing.fixed_style(look):
        figure = gallery.KINDS[kind](look)
        boxes = drawn_boxes(figure)
    assert len(boxes) > 5
    for text, box in boxes:
        inside = box.x0 >= 0 and box.y0 >= 0
        inside &= box.x1 <= figure.bbox.width and box.y1 <= figure.bbox.height
        assert inside, f"{text.get_text()!r} is cut off"
    for (a, first), (b, second) in itertools.combinations(boxes, 2):
        apart = first.x1 < second.x0 + 1 or second.x1 < first.x0 + 1
        apart |= first.y1 < second.y0 + 2.5 or second.y1 < first.y0 + 2.5
        assert apart, f"{a.get_text()!r} overlaps {b.get_text()!r}"


@pytest.mark.parametrize("look", ["grey", SLOW("colour")])
@pytest.mark.parametrize("kind", gallery.KINDS)
def test_files_have_the_width_their_text_and_no_type_3(kind, look, tmp_path):
    look = LOOKS[look]
    with drawing.fixed_style(look):
        figure = gallery.KINDS[kind](look)
        svg, pdf, pgf = drawing.save(figure, tmp_path / "figure", look)
    texts = {text.get_text() for text in figure.findobj(Text) if text.get_text().strip()}
    root = ElementTree.fromstring(svg.read_text(encoding="utf-8"))
    assert float(root.get("width").removesuffix("pt")) == pytest.approx(72 * COLUMN)
    assert root.find(f"{SVG}title").text == figure.heading
    if figure.details:
        assert root.find(f"{SVG}desc").text == figure.details
    written = {element.text for element in root.iter(f"{SVG}text")}
    shown = {line for text in texts for line in text.split("\n") if line.strip()}
    assert len(written & shown) > 5 and not root.findall(f".//{SVG}g[@id]/{SVG}use[@transform]")
    data = pdf.read_bytes()
    assert b"/Type3" not in data and b"/CIDFontType2" in data
    source = pgf.read_text(encoding="utf-8")
    assert source.count(r"\begin{pgfscope}") == source.count(r"\end{pgfscope}") > 5
    assert rf"\pgfqpoint{{{COLUMN:f}in}}" in source and "_of_" not in source.replace(r"\_", "")
    if look.grey:
        colours = re.findall(r"#[0-9a-f]{6}", svg.read_text(encoding="utf-8"))
        assert colours and all(c[1:3] == c[3:5] == c[5:7] for c in colours)


@pytest.mark.parametrize(
    "kind", ["loss_by_length", "exact_match_by_length", "loss_by_position", "study_values"]
)
def test_lines_differ_by_marker_or_dashes(kind):
    look = LOOKS["grey"]
    with drawing.fixed_style(look):
        figure = gallery.KINDS[kind](look)
    for axes in figure.axes:
        marked = [
            (str(line.get_marker()), str(line._unscaled_dash_pattern))
            for line in axes.get_lines()
            if line.get_marker() not in ("None", "", "x")
        ]
        assert len(set(marked)) == len(marked)


def test_the_same_bytes_in_every_format(tmp_path):
    look = Look("paper", formats=("png", "svg", "pdf", "pgf"), grey=True)
    for name in ("one", "two"):
        with drawing.fixed_style(look):
            drawing.save(gallery.loss_by_length(look), tmp_path / name, look)
    for format in look.formats:
        one, two = (tmp_path / f"{name}.{format}" for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_a_panel_that_has_no_room_is_refused():
    look = Look("slide", given_width=2.0)
    with drawing.fixed_style(look), pytest.raises(ConfigError, match="give a larger --width"):
        gallery.loss_by_length(look)


# Names, numbers, colours


def test_every_scheme_and_its_variants_have_a_title():
    for option, path in catalogue.files("scheme", catalogue.folders()).items():
        assert "# title: " in path.read_text(encoding="utf-8"), path
        assert TITLES[option] and len(TITLES[option]) < 32
    assert TITLES["t5_bias"] == "T5 bias" and TITLES["alibi"] == "ALiBi"
    assert TITLES["rope(base=500000)"] == "RoPE, base 500k" and TITLES["yarn"] == "YaRN"
    assert TITLES["cable(weighted=False, activation=softplus)"] == "CABLE-NW"


def test_a_name_is_made_of_its_parts():
    look = Look("paper", names={"rope": "RoPE", "yarn": "YaRN", "t5_bias(x=1)": "T5!"})
    assert look.name("rope+yarn") == "RoPE + YaRN" and look.name("t5_bias(x=1)") == "T5!"
    assert look.name("rope(base=5)") == "RoPE (base=5)" and look.name("mine+x") == "mine+x"


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("-0.060 [-0.07, -.05]", "−0.060 [−0.07, −.05]"), ("-0.000", "0.000"), ("+0.0", "0.0"),
        ("−0", "0"), ("-0.0001", "−0.0001"), ("1-2", "1-2"), ("seed-3", "seed-3"), ("+0.5", "+0.5"),
        ("layers 0-1, heads 8-15", "layers 0-1, heads 8-15"), ("within ±0", "within ±0"),
    ],
)  # fmt: skip
def test_minus_signs_and_no_negative_zero(given, written):
    assert glyphs.numbers(given) == written
    assert glyphs.numbers(written) == written


def test_tick_labels_have_room_and_the_training_length_first():
    look = LOOKS["colour"]
    with drawing.fixed_style(look):
        figure = gallery.loss_by_length(look)
    labels = [label.get_text() for label in figure.axes[-1].get_xticklabels()]
    assert "262,144\n1×" in labels and "1,048,576\n4×" in labels and "" in labels
    ranks = [ticks.signed(value) for value in (0, 1, 0.1, 0.03)]
    assert ranks == sorted(ranks)


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [(1, 1000, {"1", "10", "1,000"}), (0.31, 0.39, set()), (2e-7, 3e-3, {"1e-06"})],
)
def test_a_logarithmic_axis_has_plain_numbers(low, high, labels):
    with drawing.fixed_style():
        axes = Figure().add_subplot()
        axes.set(yscale="log", ylim=(low, high))
        ticks.plain(axes.yaxis)
        shown = {label.get_text() for label in axes.get_yticklabels()}
    assert labels <= shown and len(shown - {""}) > 1 and not any("$" in text for text in shown)


def test_variants_are_shades_of_their_scheme():
    assert palette.base("rope(base=5)+yarn") == "rope"
    hues = set()
    for name in ("rope+yarn", "rope(base=500000)", "rope+ntk"):
        red, green, blue = (int(palette.style(name).colour[i : i + 2], 16) for i in (1, 3, 5))
        assert blue > green > red
        hues.add(palette.style(name).colour)
    assert len(hues) > 1


def test_bits_per_byte_and_loss(tmp_path):
    summary, _ = gallery.measured()
    for metric, words in (("loss", "loss (nats/token)"), ("bits_per_byte", "bits per byte")):
        with drawing.fixed_style():
            figure = by_length.loss_by_length(summary, look=Look(metric=metric))
        assert figure.axes[0].get_ylabel().startswith(words)
        line = next(line for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 7)
        assert any(
            list(line.get_ydata()) == list(rows.sort_values("eval_length")[metric])
            for _, rows in summary.groupby("scheme")
        )


# Command


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project") / "results"
    write_runs(folder, ("t5_bias", "alibi", "rope"), n_documents=5)
    assert plot.main(["--results", str(folder), "--publish", "main"]) == 0
    return folder


def test_the_command_draws_what_is_asked_for_beside_the_published(results, capsys):
    before = {path: path.read_bytes() for path in (results / "main").iterdir()}
    options = [
        "main", "--format", "pdf,svg", "--style", "paper", "--grey", "--no-title", "--schemes",
        "t5_bias,alibi", "--lengths", "512,1024", "--metric", "loss", "--width", "3.5",
        "--labels", "t5_bias=T5 $x_2$", "--results", str(results),
    ]  # fmt: skip
    capsys.readouterr()  # what the publication printed
    assert plot.main(options) == 0
    written = capsys.readouterr().out.split()
    folder = results / "figures" / "paper" / "main"
    assert str(folder / "loss_by_length.pdf") in written and len(written) == 2 * 3
    text = (folder / "loss_by_length.svg").read_text(encoding="utf-8")
    assert "T5 $x_2$" in text and "ALiBi" in text and "RoPE" not in text
    assert "2,048" not in text and 'width="252pt"' in text
    assert {path: path.read_bytes() for path in (results / "main").iterdir()} == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--format", "jpg"], "--format jpg: expected png, svg, pdf, pgf"),
        (["--width", "0.5"], "--width 0.5: expected inches, from 2 to 40"),
        (["--width", "wide"], "--width wide: expected inches"),
        (["--labels", "T5"], "--labels T5: expected NAME=TEXT"),
        (["--lengths", "512,x"], "--lengths x: expected numbers of tokens"),
        (["--schemes", "t5bias"], "--schemes t5bias: no figure has it; did you mean t5_bias?"),
        (["nothing"], "nothing: nothing of that name to draw; expected one of runs, main"),
        (["--grey", "--publish", "x"], "--grey cannot be given with --publish"),
    ],
)
def test_a_mistake_is_one_line(results, capsys, options, says):
    assert plot.main([*options, "--results", str(results)]) == 2
    printed = capsys.readouterr()
    assert says in printed.err and printed.err.count("\n") == 1 and printed.out == ""


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX")
def test_a_latex_document_takes_every_figure(tmp_path):
    look = LOOKS["colour"]
    body = []
    for kind, draw in gallery.KINDS.items():
        with drawing.fixed_style(look):
            drawing.save(draw(look), tmp_path / kind, look)
        body.append(rf"\input{{{kind}.pgf}}\newpage\includegraphics{{{kind}.pdf}}\newpage")
    document = [
        r"\documentclass{article}", r"\usepackage{pgf,graphicx}", r"\usepackage[T1]{fontenc}",
        r"\usepackage{lmodern}",
        r"\usepackage[paperheight=20in]{geometry}", r"\begin{document}", *body, r"\end{document}",
    ]  # fmt: skip
    (tmp_path / "paper.tex").write_text("\n".join(document), encoding="utf-8")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:]
    assert b"/Type3" not in (tmp_path / "paper.pdf").read_bytes()
    assert "Missing character" not in (tmp_path / "paper.log").read_text(errors="replace")


def test_matplotlib_is_not_left_changed():
    before = dict(matplotlib.rcParams)
    with drawing.fixed_style(LOOKS["slide"]):
        assert matplotlib.rcParams["font.size"] == 15 and matplotlib.rcParams["pdf.fonttype"] == 42
        assert Line2D([], []).get_linewidth() > 2
    assert dict(matplotlib.rcParams) == before
