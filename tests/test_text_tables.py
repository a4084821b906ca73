"""text_tables.py: one table as text, Markdown, LaTeX and HTML; numbers and intervals as cells."""

import pytest

from lengthgen.reporting import text_tables

NAN = float("nan")


def test_by_length_has_a_line_for_each_name_and_an_empty_cell_where_there_is_no_row():
    rows = [
        {"scheme": "rope", "eval_length": 128, "loss": 2.2},
        {"scheme": "alibi", "eval_length": 64, "loss": 1.0},
        {"scheme": "alibi", "eval_length": 128, "loss": 1.1},
    ]

    def table(rows, corner=""):
        return text_tables.by_length(
            rows, lambda row: row["scheme"], lambda row: str(row["loss"]), corner
        )

    assert table(rows, "scheme") == [
        "| scheme | 64 | 128 |",
        "|---|---:|---:|",
        "| rope |  | 2.2 |",
        "| alibi | 1.0 | 1.1 |",
    ]
    assert table(rows)[0] == "| | 64 | 128 |"


def test_the_last_side_is_repeated():
    head = ["a", "b", "c", "d"]
    assert [text_tables.markdown(head, [], sides)[1] for sides in ("l", "lr", "lrl")] == [
        "|---|---|---|---|",
        "|---|---:|---:|---:|",
        "|---|---:|---|---|",
    ]


def test_latex_and_html_escape_their_cells():
    head, rows = ("t5_bias & co", "×"), [("50 %", "−1")]
    assert text_tables.latex(head, rows, "lr") == [
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"t5\_bias \& co & $\times$ \\",
        r"\midrule",
        r"50 \% & $-$1 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    assert text_tables.html(("a<b", "n"), [("&", "1")], "lr") == [
        "<table>",
        '<thead><tr><th>a&lt;b</th><th style="text-align:right">n</th></tr></thead>',
        "<tbody>",
        '<tr><td>&amp;</td><td style="text-align:right">1</td></tr>',
        "</tbody>",
        "</table>",
    ]


@pytest.mark.parametrize(
    ("numbers", "cell"),
    [
        ((1.0, 0.5, 1.5), "1.000 [0.500, 1.500]"),
        ((0.0001, -1.0, NAN), "1.00e-04 [-1.000, ]"),
        ((1.0, NAN, NAN), "1.000"),
        ((NAN, NAN, NAN), ""),
    ],
)
def test_an_interval_is_a_cell(numbers, cell):
    assert text_tables.interval(*numbers, text_tables.number) == cell


def test_aligned_columns_start_below_one_another_and_the_last_is_wrapped():
    lines = text_tables.aligned(
        ("name", "meaning"), [("a", "word " * 40), ("longer", "end")]
    ).splitlines()
    assert lines[0].startswith("name    meaning") and lines[1].startswith("------  -----")
    assert len(lines) == 5 and all(len(line) <= text_tables.WIDTH for line in lines)
    assert lines[3].startswith("        word") and lines[-1] == "longer  end"
