"""Names of all scripts in figures: no boxes, no warnings of matplotlib, no formulas."""

import warnings

import matplotlib
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lengthgen.reporting import tables
from lengthgen.reporting.figures import by_length, drawing, glyphs, layout, measure

from .fake_runs import write_runs

NAMES = {
    "mein_text": "mein_text",
    "Übung ñ Ω → ×": "Übung ñ Ω → ×",
    "小说": "[U+5C0F U+8BF4]",
    "a小b说c": "a[U+5C0F]b[U+8BF4]c",
    "🚀🚀": "[U+1F680 U+1F680]",
    "한국어": "[U+D55C U+AD6D U+C5B4]",
    "t\udcc3\udcabxt": "t[U+DCC3 U+DCAB]xt",
    "a\tb\x07": "a b ",
    "two\nlines": "two\nlines",
    "$x^{2$ _a'": "$x^{2$ _a'",
}


@pytest.fixture(autouse=True)
def no_other_fonts(monkeypatch):
    """A machine with matplotlib's own fonts alone."""
    ours = [f for f in font_manager.fontManager.ttflist if "mpl-data" in f.fname]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", ours)
    forget()
    yield
    forget()


def forget():
    for cached in (glyphs._drawn, glyphs._has_main, glyphs._font_of, glyphs._characters):
        cached.cache_clear()
    font_manager.fontManager._findfont_cached.cache_clear()


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_drawn_or_its_characters_are_named(name):
    assert glyphs.written(name) == NAMES[name]
    for character in glyphs.written(name):
        assert character == "\n" or glyphs._has_main(character)


@pytest.mark.parametrize("label", ["小说", "$x^{2$ _a'", "🚀 run", "한국어" * 10, "\x00\x1b[31m"])
def test_figures_of_any_label(tmp_path, label):
    write_runs(tmp_path, ("t5_bias", "rope"))
    found = tables.collect(tmp_path)
    summary = tables.summarise(found.documents, found.lengths)
    rows = summary[summary["protocol"] == "matched"].assign(dataset=label)
    rows["scheme"] = rows["scheme"].replace("rope", f"rope {label}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with drawing.fixed_style():
            figure = by_length.loss_by_length(rows)
            for path in drawing.save(figure, tmp_path / "figure"):
                assert path.stat().st_size > 1000
    texts = [text.get_text() for text in figure.findobj(matplotlib.text.Text)]
    assert any(glyphs.written(label) in text for text in texts)
    boxes = [t.get_window_extent() for t in figure.findobj(matplotlib.text.Text) if t.get_text()]
    assert max(box.x1 for box in boxes) <= figure.bbox.x1  # long names have room


def test_a_label_in_every_place_of_a_figure_is_literal(tmp_path):
    """Ticks that are made only when the figure is drawn, and legends, too."""
    label = r"$\frac{a$"
    with drawing.fixed_style():
        figure = Figure()
        axes = figure.add_subplot()
        axes.plot([0, 1], [1, 1000], label=label)
        axes.set_xticks([0, 1], [label, "b$"])
        axes.set(title=label, xlabel=label, yscale="log")
        axes.legend()
        drawing.save(figure, tmp_path / "figure")
    assert [t.get_text() for t in axes.get_xticklabels()] == [label, "b$"]
    logarithmic = [t for t in axes.get_yticklabels() if t.get_text()]
    assert logarithmic and all(t.get_parse_math() for t in logarithmic)  # 10^2, drawn as before


def font_with(tmp_path, character):
    """A font of one square."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in ((0, 800), (800, 800), (800, 0)):
        pen.lineTo(point)
    pen.closePath()
    square = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "square"])
    builder.setupCharacterMap({ord(character): "square"})
    builder.setupGlyf({".notdef": square, "square": square})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "square": (1000, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "squares.ttf")
    return tmp_path / "squares.ttf"


def test_a_font_of_the_machine_is_used_where_one_has_the_character(tmp_path):
    font_manager.fontManager.addfont(font_with(tmp_path, "小"))
    assert glyphs.written("小说") == "小[U+8BF4]"
    with warnings.catch_warnings(), drawing.fixed_style():
        warnings.simplefilter("error")
        figure = Figure(figsize=(2, 1))
        text = figure.text(0.1, 0.1, "a 小")
        drawing.save(figure, tmp_path / "figure")
        assert text.get_fontfamily() == ["DejaVu Sans", "Squares"]
        FigureCanvasAgg(figure).draw()
    assert np.asarray(figure.canvas.buffer_rgba())[..., 0].min() < 128


def test_plain_names_change_nothing():
    text = "perplexity ↑ −0.5 × ±, é"
    assert glyphs.written(text) == glyphs.numbers(text) == text
    assert measure.width("ab", 9) < measure.width("a小", 9)
    assert layout.STYLE["text.parse_math"] is False
