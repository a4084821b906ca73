"""`lengthgen report`: one HTML page of results, self-contained, escaped, the same bytes again."""

import itertools
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lengthgen import files
from lengthgen.cli import main, report
from lengthgen.reporting.page import assets, chart_data, html, numbers, whole
from lengthgen.reporting.page.answer import blocks
from lengthgen.reporting.page.content import Card, Cards, Chart, Fold, Section, Table
from lengthgen.reporting.page.markup import element
from lengthgen.reporting.page.set_ups import published
from lengthgen.studies import report_curves, report_section

from .fake_runs import write_run
from .report_cases import write_results, write_study

ROOT = Path(__file__).parent.parent
HOSTILE = "<script>alert(1)</script>"
LOADS = {"src", "href", "srcset", "poster", "data", "action", "xlink:href"}


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    return write_results(tmp_path_factory.mktemp("project") / "results")


@pytest.fixture(scope="module")
def page(results, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    assert report.main(["--results", str(results), "--to", str(path)]) == 0
    return path.read_text(encoding="utf-8")


@pytest.fixture
def own(results, tmp_path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(results, tmp_path / "results"))


class Reader(HTMLParser):
    """What a page says: tags with attributes, and the text outside scripts and styles."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.texts: list[str] = []
        self.inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.inside.append(tag)

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self.inside[-1:]):
            self.texts.append(data)

    def of(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def write(results: Path, tmp_path: Path, *options: str) -> str:
    path = tmp_path / "page.html"
    report.main(["--results", str(results), "--to", str(path), *options])
    return path.read_text(encoding="utf-8")


def charts(page: str) -> list[dict]:
    found = re.findall(r'<script type="application/json">(.*?)</script>', page, flags=re.S)
    return [json.loads(text) for text in found]


# What it says


def test_sections_come_in_the_order_in_which_a_reader_needs_them(page):
    headings = re.findall(r"<h2[^>]*>(.*?)</h2>", page)
    assert headings == [
        "The answer", "The curves", "Studies: what was claimed, and what was found", "Costs",
        "Where the numbers come from",
    ]  # fmt: skip
    ids = {attributes["id"] for _, attributes in Reader(page).tags if "id" in attributes}
    links = re.findall(r'href="#([^"]+)"', page)
    assert set(links) <= ids and "study-far" in links and "origin-main" in links


def test_ids_are_unique(page):
    ids = [attributes["id"] for _, attributes in Reader(page).tags if "id" in attributes]
    assert sorted(ids) == sorted(set(ids))


def test_the_answer_is_in_words(page):
    lead = re.search(r'<p class="lead">(.*?)</p>', page)[1]
    assert lead.startswith("Trained at 512 tokens and evaluated at up to 2,048 (4 times as many): ")
    assert "fail" in lead and "rope" in lead


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("fails", "fails", "fails"), "fails from 640"),
        (("undecided", "fails", "fails"), "fails from 1,024"),
        (("fails", "undecided", "fails"), "fails from 2,048"),
        (("fails", "undecided", "undecided"), "fails at 640"),
    ],
)
def test_where_a_scheme_begins_to_fail(results, words, said):
    rows = published(results, pytest.fail)[0].verdicts
    rope = rows[rows["scheme"] == "rope"]
    rope = rope[rope["eval_length"].isin([640, 1024, 2048])].assign(word=list(words))
    (cards,) = (block for block in blocks(rope) if isinstance(block, Cards))
    (card,) = cards.cards
    assert isinstance(card, Card) and card.word == words[-1]
    assert card.items[0][1].endswith(said)


def test_tables_have_values_intervals_and_words(page, results):
    summary = published(results, pytest.fail)[0].summary
    rows = summary[(summary["protocol"] == "matched") & (summary["scheme"] == "rope")]
    row = rows[rows["eval_length"] == 2048].iloc[0]
    low, high = (numbers.number(row[f"loss_change_{end}"]) for end in ("low", "high"))
    cell = f"{numbers.number(row['loss_change'], sign=True)}<small>[{low}, {high}]</small>"
    assert f'{cell}<span class="word bad">fails</span>' in page
    assert "learned positions exist for 0..511" in page  # why there is no number


def test_studies_have_claims_thresholds_and_verdicts(page):
    text = " ".join(Reader(page).texts)
    for words in ("RoPE loses more than 0.3 nats at 2 L", "above 0.3", "[0.700, 1.100]",
                  "supported", "Not registered: a pilot, which tests nothing."):  # fmt: skip
        assert words in text


def test_every_number_has_its_origin(page):
    text = " ".join(Reader(page).texts)
    assert "lengthgen train scheme=rope seed=1" in text and "c0ffee" in text
    assert "rope-512-s1-1e234567" in text and "lengthgen study far" in text
    assert "lengthgen bench train" in text and "1,234" in text


def test_charts_hold_the_tables_numbers(page, results):
    (chart,) = charts(page)
    summary = published(results, pytest.fail)[0].summary
    assert chart["lengths"] == [256, 512, 640, 768, 1024, 1536, 2048] and chart["train"] == 512
    assert chart["protocols"] == ["matched", "nonoverlapping"]
    rows = summary[(summary["protocol"] == "matched") & (summary["scheme"] == "alibi")]
    for (value, low, high), row in zip(
        chart["values"]["matched"]["loss"]["alibi"], rows.to_dict("records"), strict=True
    ):
        wanted = [row["loss"], row["loss_low"], row["loss_high"]]
        assert [value, low, high] == pytest.approx(wanted, rel=1e-4)
    assert chart["values"]["matched"]["loss"]["learned"][-1] is None
    assert chart["said"]["matched"]["learned"]["2048"] == "refuses"
    assert chart["said"]["nonoverlapping"] == {
        "learned": dict.fromkeys(("640", "768", "1024", "1536", "2048"), "refuses")
    }


def test_the_plain_figure_is_there_without_scripts(page):
    plain = re.findall(r"<noscript>(.*?)</noscript>", page, flags=re.S)
    assert len(plain) == 1 and plain[0].count('<img src="data:image/svg+xml;base64,') == 2


# Self-contained, escaped, the same again


def test_nothing_is_loaded_from_anywhere(page):
    reader = Reader(page)
    for tag, attributes in reader.tags:
        for name in LOADS & attributes.keys():
            assert attributes[name].startswith(("#", "data:")), (tag, name)
    style = "".join(re.findall(r"<style>(.*?)</style>", page, flags=re.S))
    assert "url(" not in style and "@import" not in style
    (policy,) = (each["content"] for each in reader.of("meta") if "http-equiv" in each)
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert not {"iframe", "object", "embed", "base", "form"} & {tag for tag, _ in reader.tags}


def test_the_policy_allows_these_scripts_and_no_others(page):
    policy = Reader(page).of("meta")[1]["content"]
    scripts = re.findall(r"<script>(.*?)</script>", page, flags=re.S)
    assert len(scripts) == len(assets.SCRIPTS)
    assert "Permission is hereby granted" in scripts[0] and "uPlot (v1" in scripts[0]
    assert {assets.allowed(script) for script in scripts} == set(
        re.findall(r"'sha256-\S+'", policy)
    )


def test_the_same_results_give_the_same_bytes(results, page, tmp_path):
    assert write(results, tmp_path) == page
    code = (
        "import sys; from lengthgen.cli import report; "
        f"report.main(['--results', {str(results)!r}, '--to', {str(tmp_path / 'other.html')!r}])"
    )
    environment = {"PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT), "PATH": ""}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=tmp_path)
    assert (tmp_path / "other.html").read_text(encoding="utf-8") == page


def test_labels_are_text(own, tmp_path):
    shutil.rmtree(own / "runs")
    for path in (own / "main").glob("*.*"):
        if path.suffix in (".csv", ".json"):
            path.write_text(path.read_text().replace("t5_bias", HOSTILE).replace("python", "</p>"))
    (own / "main" / "manifest.json").unlink()
    write_study(own, claim=f'{HOSTILE} & "more"', subject="<img src=x onerror=alert(1)>")
    text = write(own, tmp_path, "--title", f"A {HOSTILE}")
    reader = Reader(text)
    assert "alert(1)</script>" not in text and "onerror=alert(1)>" not in text
    assert len(reader.of("script")) == len(assets.SCRIPTS) + 1
    assert all(set(each) <= {"src", "alt"} for each in reader.of("img"))
    said = " ".join(reader.texts)
    assert f"A {HOSTILE}" in said and f'{HOSTILE} & "more"' in said
    (chart,) = charts(text)
    assert HOSTILE in [line["name"] for line in chart["lines"]]


def test_elements_escape_text_and_attributes():
    made = element("p", "a<b>&", element("b", "c"), class_='"x"', hidden=True, id=None)
    assert made == '<p class="&quot;x&quot;" hidden>a&lt;b&gt;&amp;<b>c</b></p>'


@pytest.mark.parametrize(
    ("value", "text"), [(-0.0004, "0.000"), (-1.5, "−1.500"), (float("nan"), ""), (2e7, "2e+07")]
)
def test_numbers_have_true_minus_signs(value, text):
    assert numbers.number(value) == text


def test_lines_are_seen_on_dark_pages():
    assert chart_data.on_dark("#56B4E9") == "#56B4E9"
    for dark in ("#000000", "#332288", "#882255"):
        light = chart_data.on_dark(dark)
        assert sum(int(light[i : i + 2], 16) for i in (1, 3, 5)) > 300


# What a reader of screens needs


def test_tables_have_captions_and_scopes(page):
    for table in re.findall(r"<table[^>]*>(.*?)</table>", page, flags=re.S):
        assert re.match(r"<caption><span>[^<]+</span></caption>", table)
        heads, rows = re.findall(r"<th(?= |>)[^>]*>", table), table.count("<tr>") - 1
        assert all('scope="' in head for head in heads)
        assert sum('scope="row"' in head for head in heads) == rows


def test_headings_descend_one_by_one(page):
    levels = [int(level) for level in re.findall(r"<h([1-6])", page)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert '<html lang="en">' in page and "<main" in page and "<nav" in page


# The command


def test_it_is_a_command(capsys):
    assert "report" in [command.name for command in main.COMMANDS]
    with pytest.raises(SystemExit):
        main.main(["report", "--help"])
    assert "--to FILE" in capsys.readouterr().out


def test_runs_come_after_what_is_published(own, tmp_path):
    write_run(own, "alibi", 0, train_length=128)
    text = write(own, tmp_path)
    assert text.count("<figure") == 2 and "python-tiny-128-00123456" in text
    assert text.index("results/main") < text.index("python-tiny-128")
    assert write(own, tmp_path, "--published").count("<figure") == 1


def test_runs_alone_make_a_page(tmp_path):
    write_run(tmp_path / "results", "rope", 0)
    text = write(tmp_path / "results", tmp_path)
    assert "The answer" in text and "fails" in text and "Costs" not in text


def test_nothing_to_report_is_one_line(tmp_path, capsys):
    assert report.main(["--results", str(tmp_path), "--to", str(tmp_path / "x.html")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "x.html").exists()


def test_damage_is_named_and_left_out(own, tmp_path, capsys):
    path = own / "main" / "summary.csv"
    path.write_text(path.read_text().replace("rope", "hope"))
    claims = own / "studies" / "far" / "claims.csv"
    claims.write_text(claims.read_text().replace("supported", "refuted"))
    to = tmp_path / "page.html"
    assert report.main(["--results", str(own), "--to", str(to)]) == 3
    errors = capsys.readouterr().err
    assert "summary.csv is damaged" in errors and "study far: claims.csv is damaged" in errors
    text = to.read_text()
    assert "hope" not in text and "refuted</span>" not in text
    assert 'class="fault"' in text and "summary.csv is damaged" in text


def test_a_folder_is_no_page(results, tmp_path, capsys):
    assert report.main(["--results", str(results), "--to", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err


def test_decisions_are_shown(own, tmp_path):
    folder = own / "decisions" / "rope-1"
    about = {"run": "rope-1", "recommendation": "At 2,048 tokens: rope+yarn.", "budget": "none",
             "command": "lengthgen decide run=rope"}  # fmt: skip
    files.write_json(folder / "decision.json", about)
    columns = ("subject", "eval_length", "loss", "loss_low", "loss_high", "word", "within_budget")
    rows = [dict(zip(columns, ("rope+yarn", 2048, 1.5, 1.4, 1.6, "tolerates", True), strict=True))]
    files.write_table(folder / "decision.csv", rows, columns)
    text = " ".join(Reader(write(own, tmp_path)).texts)
    assert "At 2,048 tokens: rope+yarn." in text and "lengthgen decide run=rope" in text
    assert "[1.400, 1.600]" in text and "Decisions" in text


def test_without_a_browser_the_page_is_there_and_the_pdf_is_one_line(
    results, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("PATH", str(tmp_path))
    to, paper = tmp_path / "x.html", tmp_path / "x.pdf"
    assert report.main(["--results", str(results), "--to", str(to), "--pdf", str(paper)]) == 2
    assert "needs Chromium" in capsys.readouterr().err
    assert to.exists() and not paper.exists()


def test_a_browser_that_prints_nothing_is_one_line(results, tmp_path, monkeypatch, capsys):
    fake = tmp_path / "chromium"
    fake.write_text("#!/bin/sh\necho no display >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    paper = tmp_path / "x.pdf"
    arguments = ["--results", str(results), "--to", str(tmp_path / "x.html"), "--pdf", str(paper)]
    assert report.main(arguments) == 2
    assert "printed no page (no display)" in capsys.readouterr().err and not paper.exists()


def test_the_committed_results_fit(tmp_path):
    if not (ROOT / "results" / "length_512").is_dir():
        pytest.skip("no committed results here")
    nothing = Section("decisions", "Decisions", ())
    faults: list[str] = []
    studies = report_section.section(ROOT / "results", faults.append)
    page = whole.page(ROOT / "results", studies, nothing, "All", False, faults.append)
    assert page is not None and faults == []
    assert len(html.write(page).encode()) < 3_000_000


def test_studies_have_curves_with_tables():
    row = {"dataset": "python", "train_length": 64, "corpus": float("nan"), "status": "ok",
           "rates": "", "point": "", "scheme": "rope", "protocol": "matched"}  # fmt: skip
    values = [
        row | {"subject": subject, "measure": "loss", "eval_length": length, "value": value,
               "low": value - 0.1, "high": value + 0.1}
        for subject, far in (("text_rope", 2.0), ("text_rope+yarn", 1.5))
        for length, value in ((64, 1.0), (128, far))
    ]  # fmt: skip
    values.append(values[0] | {"protocol": "sliding", "status": "failed", "value": float("nan")})
    values.append(values[0] | {"measure": "floor"})
    chart, fold = report_curves.blocks("far", values)
    assert isinstance(chart, Chart) and isinstance(fold, Fold)
    assert chart.data["protocols"] == ["matched", "sliding"]
    assert chart.data["values"]["matched"] == {
        "loss": {"text_rope": [[1.0, 0.9, 1.1], [2.0, 1.9, 2.1]],
                 "text_rope+yarn": [[1.0, 0.9, 1.1], [1.5, 1.4, 1.6]]}
    }  # fmt: skip
    assert chart.data["values"]["sliding"]["loss"]["text_rope"] == [None, None]
    # Lines of the same scheme are told apart by styles of their own.
    assert len({line["colour"] for line in chart.data["lines"]}) == 2
    table = fold.blocks[0]
    assert isinstance(table, Table) and table.head == ("subject", "64 (1×)", "128 (2×)")
    assert (table.rows[1][2].text, table.rows[1][2].note) == ("1.500", "[1.400, 1.600]")
