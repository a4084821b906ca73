"""Figures: byte-stable, without torch, nothing overlaps; and the command `lengthgen plot`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import is_color_like, to_rgb
from matplotlib.figure import Figure

from lengthgen.cli import plot
from lengthgen.reporting import publish, tables
from lengthgen.reporting.figures import by_length, by_position, drawing, line_names, palette
from lengthgen.statistics import bootstrap as statistics

from .fake_runs import write_run, write_runs

NAMES = ["loss_by_length", "loss_by_length_nonoverlapping", "loss_by_position"]


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("project") / "results"
    write_runs(folder, ("t5_bias", "alibi", "learned", "rope", "sinusoidal", "learned(tail=clamp)"))
    return folder


@pytest.fixture(scope="module")
def found(results):
    return tables.collect(results)


@pytest.fixture(scope="module")
def summary(found):
    return tables.summarise(found.documents, found.lengths)


def texts(figure) -> list[str]:
    return [
        text.get_text()
        for text in figure.findobj(matplotlib.text.Text)
        if text.get_visible() and text.get_text().strip()
    ]


def styled(draw, *arguments):
    with drawing.fixed_style():
        figure = draw(*arguments)
        FigureCanvasAgg(figure).draw()
        return figure


# Palette


def test_known_schemes_differ_in_colour_and_marker_and_never_change():
    assert list(palette.KNOWN) == [
        "none", "learned", "sinusoidal", "normalised_sinusoid", "rope", "t5_bias",
        "alibi", "kerple_log", "kerple_power", "fire", "sandwich", "per_offset",
    ]  # fmt: skip
    styles = list(palette.KNOWN.values())
    assert len({style.colour for style in styles}) == 12
    assert len({style.marker for style in styles}) == 12
    assert palette.style("t5_bias") == palette.Style("#009E73", "o", palette.SOLID)
    assert palette.style("learned") == palette.Style("#D55E00", "s", palette.SOLID)


def test_known_colours_stay_apart_for_the_colour_blind():
    """Machado et al. 2009, severity 1; similar colours have different markers."""
    matrices = {
        "deuteranopia": [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ],
        "protanopia": [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
    }
    names = list(palette.KNOWN)
    rgb = np.array([to_rgb(palette.KNOWN[name].colour) for name in names])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    for matrix in matrices.values():
        seen = np.clip(linear @ np.array(matrix).T, 0, 1) ** (1 / 2.2)
        for i, first in enumerate(names):
            for j in range(i):
                a, b = palette.KNOWN[first], palette.KNOWN[names[j]]
                if np.linalg.norm(seen[i] - seen[j]) < 0.1:
                    assert a.marker != b.marker and a.line != b.line, (first, names[j])
                assert np.linalg.norm(seen[i] - seen[j]) > 0.03, (first, names[j])


def test_unknown_names_get_a_style_from_their_name_alone():
    label = "t5_bias(num_buckets=64)"
    assert palette.style(label) == palette.style(label) and is_color_like(
        palette.style(label).colour
    )
    assert palette.style(label).marker not in {style.marker for style in palette.KNOWN.values()}
    code = f"from lengthgen.reporting.figures import palette; print(palette.style({label!r}))"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    ).stdout
    assert printed.strip() == str(palette.style(label))
    variants = {palette.style(f"t5_bias(num_buckets={n})") for n in (4, 8, 16, 32, 64, 128, 256)}
    assert len(variants) == 7


def test_order_keeps_variants_beside_their_scheme():
    labels = ["mine", "alibi", "t5_bias(num_buckets=64)", "t5_bias", "none"]
    assert sorted(labels, key=palette.order) == [
        "none",
        "t5_bias",
        "t5_bias(num_buckets=64)",
        "alibi",
        "mine",
    ]


# Figures


def test_loss_by_length_says_what_it_shows(summary):
    figure = styled(by_length.loss_by_length, summary[summary["protocol"] == "matched"])
    shown = "\n".join(texts(figure)).replace("\n", " ")
    wanted = [
        "python, tiny model, trained at 512 tokens",
        "3,000 training steps",
        "3 seeds",
        "40 documents",
        "tokens scored",
        "Matched",
    ]
    for text in [
        *wanted,
        "95 %",
        "training length 512",
        "learned refuses > 512",
        "log scale",
        "1.25×",
        "640",
        "2,048",
    ]:
        assert text in shown, text
    top, strip, change = figure.axes
    assert top.get_xscale() == "log" and top.get_yscale() == "log"
    assert list(top.get_xticks()) == [256, 512, 640, 768, 1024, 1536, 2048]
    assert {line.get_xdata()[0] for line in top.lines if line.get_marker() == "None"} >= {512}
    for scheme in ("t5_bias", "alibi", "rope", "sinusoidal", "learned(tail=clamp)"):
        assert scheme in shown
    (crosses,) = (line for line in strip.lines if line.get_marker() == "x")
    assert list(crosses.get_xdata()) == [640, 768, 1024, 1536, 2048]
    # scaled to what changes little; the others are named
    assert change.get_ylim()[1] < 0.2 and "sinusoidal ↑ +" in shown and "t5_bias ↑" not in shown


def test_bands_and_lines_are_the_summary(summary):
    rows = summary[(summary["protocol"] == "matched") & (summary["scheme"] == "rope")].sort_values(
        "eval_length"
    )
    top = styled(by_length.loss_by_length, rows).axes[0]
    line = next(line for line in top.lines if len(line.get_xdata()) == 7)
    assert np.allclose(line.get_ydata(), rows["perplexity"])
    band = top.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx(
        (rows["perplexity_low"].min(), rows["perplexity_high"].max())
    )


def test_a_small_range_has_a_linear_axis(summary):
    rows = summary[
        (summary["protocol"] == "matched") & summary["scheme"].isin(["t5_bias", "alibi"])
    ]
    assert styled(by_length.loss_by_length, rows).axes[0].get_yscale() == "linear"


def test_nothing_overlaps_and_nothing_is_cut_off(found, summary):
    matched, other = (
        summary[summary["protocol"] == name] for name in ("matched", "nonoverlapping")
    )
    positions = styled(
        by_position.loss_by_position, tables.positions_over_seeds(found.positions), matched
    )
    for figure in (
        styled(by_length.loss_by_length, matched),
        styled(by_length.loss_by_length, other),
        positions,
    ):
        boxes = drawn_texts(figure)
        assert len(boxes) > 20
        for index, (text, box) in enumerate(boxes):
            inside = (
                box.x0 >= 0
                and box.y0 >= 0
                and box.x1 <= figure.bbox.width
                and box.y1 <= figure.bbox.height
            )
            assert inside, f"{text!r} is cut off"
            for other_text, over in boxes[:index]:
                apart = (
                    box.x1 < over.x0 + 1
                    or over.x1 < box.x0 + 1
                    or box.y1 < over.y0 + 2
                    or over.y1 < box.y0 + 2
                )
                assert apart, f"{text!r} overlaps {other_text!r}"


def drawn_texts(figure) -> list:
    """(text, box in pixels) of every text that is drawn; tick labels outside the limits are not."""
    boxes = []
    draw_text = matplotlib.text.Text.draw

    def draw(self, renderer, *arguments, **options):
        if self.get_visible() and self.get_text().strip():
            boxes.append((self.get_text(), self.get_window_extent(renderer)))
        return draw_text(self, renderer, *arguments, **options)

    with drawing.fixed_style(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(matplotlib.text.Text, "draw", draw)
        FigureCanvasAgg(figure).draw()
    return boxes


def test_names_are_spread_without_collisions_and_near_their_lines():
    assert line_names.spread([0.2, 0.8], 0.1) == pytest.approx([0.2, 0.8])
    assert line_names.spread([0.5, 0.5, 0.5], 0.1) == pytest.approx([0.4, 0.5, 0.6])
    assert line_names.spread([-np.inf, -3, 0.05], 0.1) == pytest.approx([0, 0.1, 0.2])
    assert line_names.spread([0.99, 1, np.inf], 0.1, inset=0.05) == pytest.approx(
        [0.75, 0.85, 0.95]
    )
    crowded = line_names.spread([0.5] * 40, 0.1)
    assert (
        crowded[0] == pytest.approx(0)
        and crowded[-1] == pytest.approx(1)
        and np.allclose(np.diff(crowded), 1 / 39)
    )


def test_loss_by_position_shows_the_longest_window_of_each(found, summary):
    bins = tables.positions_over_seeds(found.positions)
    figure = styled(by_position.loss_by_position, bins, summary[summary["protocol"] == "matched"])
    shown = "\n".join(texts(figure)).replace("\n", " ")
    assert (
        "window of 2,048 tokens" in shown
        and "learned (window of 512)" in shown
        and "training length 512" in shown
    )
    assert "two-way Student over seeds and documents" in shown and "3 seeds" in shown
    assert figure.axes[0].get_xlim() == (0, 2048)


# Files


def test_one_run_draws_its_own_figures(tmp_path):
    folder = write_run(tmp_path, "alibi", 0, n_documents=5)
    written = publish.write_run_figures(folder)
    assert [path.name for path in written] == [
        f"00123456-{name}.{kind}" for name in NAMES for kind in ("png", "svg")
    ]
    assert {path.parent for path in written} == {folder / "figures"} and all(
        path.stat().st_size > 5000 for path in written
    )


def test_a_single_document_has_no_interval_and_says_so(tmp_path):
    write_run(tmp_path, "alibi", 0, n_documents=1)
    found = tables.collect(tmp_path)
    summary = tables.summarise(found.documents, found.lengths)
    assert summary["loss_low"].isna().all()
    shown = " ".join(
        texts(styled(by_length.loss_by_length, summary[summary["protocol"] == "matched"]))
    )
    assert "No bands" in shown.replace("\n", " ")


def test_figures_are_byte_stable_over_processes_and_settings(tmp_path):
    write_runs(tmp_path / "results", seeds=(0,), n_documents=6)
    assert plot.main(["--results", str(tmp_path / "results"), "--publish", "main"]) == 0
    published = {path: path.read_bytes() for path in (tmp_path / "results" / "main").iterdir()}
    (tmp_path / "matplotlibrc").write_text(
        "font.size: 20\nlines.linewidth: 9\nsvg.fonttype: none\n"
    )  # a user's own taste
    code = (
        "import sys; from lengthgen.cli import plot; code = plot.main([]); "
        "sys.exit(code or 'torch' in sys.modules)"
    )
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "1",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    files = done.stdout.split()
    assert len(files) == 6 + 8 + 5 and all(not Path(file).is_absolute() for file in files)
    assert len(published) >= 6 and {path: path.read_bytes() for path in published} == published
    svg = (tmp_path / "results" / "main" / "loss_by_length.svg").read_text()
    assert "<dc:date>" not in svg and matplotlib.__version__ not in svg


def test_importing_needs_no_torch_and_no_pyplot():
    code = (
        "import sys, lengthgen.reporting.publish; unwanted = {'torch', 'matplotlib.pyplot', "
        "'hydra', 'wandb', 'scipy'}; sys.exit(bool(unwanted & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_users_matplotlib_settings_come_back():
    before = dict(matplotlib.rcParams)
    with drawing.fixed_style():
        assert matplotlib.rcParams["svg.hashsalt"] == "lengthgen"
    assert dict(matplotlib.rcParams) == before


def test_each_file_is_drawn_once_and_nothing_is_resampled(results, tmp_path, monkeypatch):
    """Counted: eighteen runs are six schemes with two protocols each; one run has two protocols."""
    drawn, resampled = [], []
    draw, bootstrap = Figure.draw, statistics.bootstrap
    alone = write_run(tmp_path, "alibi", 0, n_documents=5)
    monkeypatch.setattr(Figure, "draw", lambda *given: drawn.append(given) or draw(*given))
    monkeypatch.setattr(
        statistics,
        "bootstrap",
        lambda *given, **more: resampled.append(given) or bootstrap(*given, **more),
    )
    written = publish.write_figures(results)
    assert (len(written), len(drawn), len(resampled)) == (6, 6, 0)
    shutil.rmtree(results / "figures")
    publish.write_run_figures(alone)
    assert (len(drawn), len(resampled)) == (6 + 6, 0)


# Command


def test_more_schemes_than_can_be_told_apart_are_not_drawn_as_lines(tmp_path, monkeypatch):
    write_runs(tmp_path / "results", ("t5_bias", "alibi", "rope"))
    for most, drawn in ((3, True), (2, False)):
        monkeypatch.setattr(palette, "DISTINCT", most)
        written = {path.name for path in publish.publish(tmp_path / "results", "main", {})}
        assert ("loss_by_length.svg" in written) == (
            "loss_by_position.svg" in written
        ) == drawn and "fails_or_uses.svg" in written
        assert (
            "3 schemes: too many to tell apart"
            in (tmp_path / "results" / "main" / "summary.md").read_text()
        ) != drawn
        assert (tmp_path / "results" / "main" / "loss_by_length.svg").exists() == drawn


def test_publish_chooses_runs_and_replaces_an_earlier_publication(tmp_path, monkeypatch, capsys):
    copy = tmp_path / "results"
    write_runs(copy, ("alibi", "learned(tail=clamp)", "rope"), seeds=(0, 1, 2), n_documents=4)
    write_runs(copy, ("alibi",), seeds=(0,), train_length=1024, n_documents=4)
    monkeypatch.chdir(tmp_path)
    assert (
        plot.main(["--publish", "main", "--where", "scheme=alibi,learned(tail=clamp)", "seed=0,1"])
        == 0
    )
    both = capsys.readouterr().out.split()
    assert {*tables.read_table(copy / "main/summary.csv", tables.SUMMARY)["scheme"]} == {
        "alibi",
        "learned(tail=clamp)",
    }
    assert (
        "results/main/python-tiny-1024-3000steps-loss_by_length.png" in both
        and "results/main/summary.md" in both
    )
    assert (
        plot.main(
            [
                "--publish",
                "main",
                "--where",
                "scheme=alibi",
                "--where",
                "train_length=512",
                "--note",
                "Only ALiBi.",
            ]
        )
        == 0
    )
    files = capsys.readouterr().out.split()
    assert sorted(files) == sorted(
        f"results/main/{path.name}" for path in (tmp_path / "results" / "main").iterdir()
    )
    assert "results/main/loss_by_length.svg" in files and len(files) == 5 + 2 + 8 + 2
    assert (
        (tmp_path / "results/main/summary.md").read_text().startswith("# Summary\n\nOnly ALiBi.\n")
    )
    shutil.rmtree(copy / "runs")  # a fresh clone has no run folders
    before = {path.name: path.read_bytes() for path in (copy / "main").iterdir()}
    assert plot.main([]) == 0
    assert {path.name: path.read_bytes() for path in (copy / "main").iterdir()} == before


@pytest.mark.parametrize(
    "argv, says",
    [
        ([], "nothing to plot"),
        (["--publish", "main"], "no finished evaluation"),
        (["--publish", "../x"], "cannot name a folder"),
        (["--publish", "runs"], "cannot name a folder"),
        (["--publish", "a", "--where", "colour=red"], "KEY one of run, scheme"),
        (["--publish", "a", "--where", "scheme"], "expected KEY=VALUE"),
        (["--where", "scheme=alibi"], "give --publish NAME"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["--publish"], "expected one argument"),
    ],
)
def test_faults_are_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys, argv, says):
    monkeypatch.chdir(tmp_path)
    assert plot.main(argv) == 2
    printed = capsys.readouterr()
    assert says in printed.err and printed.err.count("\n") == 1 and printed.out == ""
