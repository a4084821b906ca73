"""columns.py: tables of text for the terminal, and as Markdown."""

from lengthgen import columns


def test_a_grid_has_a_line_for_each_name_and_nothing_where_no_cell_is():
    cells = {("alibi", 64): "1.0", ("alibi", 128): "1.1", ("rope", 128): "2.2"}
    assert columns.grid(cells, ["rope", "alibi"], [64, 128], "scheme") == [
        "| scheme | 64 | 128 |",
        "|---|---:|---:|",
        "| rope |  | 2.2 |",
        "| alibi | 1.0 | 1.1 |",
    ]
    assert columns.grid(cells, [], [64, 128])[0] == "| | 64 | 128 |"


def test_the_last_side_goes_on():
    head = ["a", "b", "c", "d"]
    assert [columns.markdown(head, [], sides)[1] for sides in ("l", "lr", "lrl")] == [
        "|---|---|---|---|",
        "|---|---:|---:|---:|",
        "|---|---:|---|---|",
    ]


def test_aligned_columns_start_below_one_another_and_the_last_is_wrapped():
    lines = columns.aligned(("name", "meaning"), [("a", "word " * 40), ("longer", "end")]).splitlines()
    assert lines[0].startswith("name    meaning") and lines[1].startswith("------  -----") and lines[-1] == "longer  end"
    assert len(lines) == 5 and all(len(line) <= columns.WIDTH for line in lines) and lines[3].startswith("        word")
