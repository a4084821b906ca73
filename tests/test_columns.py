"""columns.py: tables of text for the terminal, and as Markdown."""

from lengthgen.reporting import text_tables


def test_a_grid_has_a_line_for_each_name_and_nothing_where_no_cell_is():
    cells = {("alibi", 64): "1.0", ("alibi", 128): "1.1", ("rope", 128): "2.2"}
    assert text_tables.grid(cells, ["rope", "alibi"], [64, 128], "scheme") == [
        "| scheme | 64 | 128 |",
        "|---|---:|---:|",
        "| rope |  | 2.2 |",
        "| alibi | 1.0 | 1.1 |",
    ]
    assert text_tables.grid(cells, [], [64, 128])[0] == "| | 64 | 128 |"


def test_the_last_side_goes_on():
    head = ["a", "b", "c", "d"]
    assert [text_tables.markdown(head, [], sides)[1] for sides in ("l", "lr", "lrl")] == [
        "|---|---|---|---|",
        "|---|---:|---:|---:|",
        "|---|---:|---|---|",
    ]


def test_aligned_columns_start_below_one_another_and_the_last_is_wrapped():
    lines = text_tables.aligned(
        ("name", "meaning"), [("a", "word " * 40), ("longer", "end")]
    ).splitlines()
    assert (
        lines[0].startswith("name    meaning")
        and lines[1].startswith("------  -----")
        and lines[-1] == "longer  end"
    )
    assert (
        len(lines) == 5
        and all(len(line) <= text_tables.WIDTH for line in lines)
        and lines[3].startswith("        word")
    )
