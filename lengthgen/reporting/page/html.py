"""A page's content as HTML. Deterministic: the same content gives the same bytes."""

import json
from collections.abc import Mapping, Sequence
from functools import singledispatch
from string import Template

from lengthgen.reporting.page import assets, words
from lengthgen.reporting.page.anchors import anchor
from lengthgen.reporting.page.claim_mark import claim_mark
from lengthgen.reporting.page.content import (
    Block,
    Card,
    Cards,
    Cell,
    Chart,
    Commands,
    Facts,
    Fold,
    Page,
    Part,
    Section,
    Table,
    Text,
)
from lengthgen.reporting.page.markup import Markup, element, join

TALL = 24  # rows; a longer table scrolls in a window of its own
Items = Sequence[tuple[str, str]]


def write(page: Page) -> str:
    """The whole document."""
    sections = [section for section in page.sections if section]
    scripts = assets.scripts()
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
        f"form-action 'none'; script-src {' '.join(map(assets.allowed, scripts))}"
    )
    faults = [element("p", fault, class_="fault") for fault in page.faults]
    return Template(assets.read("page.html")).substitute(
        policy=element("meta", http_equiv="Content-Security-Policy", content=policy),
        title=join(page.title),
        styles=assets.styles(),
        lead=join(page.lead),
        facts=_facts(page.facts, "key-facts"),
        navigation=join(*map(_link, sections)),
        faults=join(*faults),
        sections=join(*(join(_section(section), "\n") for section in sections)),
        made_by=join(page.made_by),
        scripts="\n".join(element("script", script) for script in scripts),
    )


def _link(section: Section) -> Markup:
    return element("li", element("a", section.short or section.title, href=f"#{section.anchor}"))


def _section(section: Section) -> Markup:
    title = f"{section.anchor}-title"
    return element(
        "section", element("h2", section.title, id=title), *map(_block, section.blocks),
        id=section.anchor, aria_labelledby=title,
    )  # fmt: skip


@singledispatch
def _block(block: Block) -> Markup:
    raise TypeError(f"{type(block).__name__} is no block of a page")


@_block.register
def _text(block: Text) -> Markup:
    return element("p", block.text, class_="lead" if block.lead else None)


@_block.register
def _facts_block(block: Facts) -> Markup:
    return _facts(block.items, "facts", block.anchors)


def _facts(items: Items, name: str, anchors: Mapping[str, str] | None = None) -> Markup:
    def described(term: str, text: str) -> str:
        place = (anchors or {}).get(term)
        return element("a", text, href=f"#{place}") if place else text

    pairs = [
        element("div", element("dt", term), element("dd", described(term, text)))
        for term, text in items
    ]
    return element("dl", *pairs, class_=name)


@_block.register
def _cards(block: Cards) -> Markup:
    return element("div", *map(_card, block.cards), class_="cards")


def _card(card: Card) -> Markup:
    items = [
        element("li", element("code", scheme), element("span", text, class_="told"))
        for scheme, text in card.items
    ]
    meaning = element("p", card.meaning) if card.meaning else None
    heading = element("h3", word(card.word))
    tone = words.tone(card.word)
    return element("div", heading, meaning, element("ul", *items), class_=f"card {tone}")


def word(text: str) -> Markup:
    """A word with its sign and colour."""
    return element("span", text, class_=f"word {words.tone(text)}")


@_block.register
def _table(block: Table) -> Markup:
    head = [
        element("th", heading, scope="col", class_=_side(block, i))
        for i, heading in enumerate(block.head)
    ]
    body = [
        element("tr", *(_cell(block, i, cell) for i, cell in enumerate(row))) for row in block.rows
    ]
    caption = element("caption", element("span", block.caption))
    table = element(
        "table", caption, element("thead", element("tr", *head)),
        element("tbody", *(join("\n", row) for row in body)),
        class_="stacked" if block.stacked else None,
    )  # fmt: skip
    note = element("p", block.note, class_="note") if block.note else None
    # Wide tables scroll by themselves, with the keyboard too.
    region = element(
        "div",
        table,
        class_="scroll tall" if len(block.rows) > TALL else "scroll",
        role="group",
        tabindex="0",
        aria_label=block.caption,
    )
    return join(region, note)


def _side(block: Table, column: int) -> str | None:
    return "number" if column in block.numeric else None


def _cell(block: Table, column: int, cell: Cell) -> Markup:
    text: str = element("code", cell.text) if cell.code and cell.text else cell.text
    if cell.anchor:
        text = element("a", text, href=f"#{cell.anchor}")
    parts = [
        text,
        None if cell.text or not cell.word else word(cell.word),
        element("small", cell.note) if cell.note else None,
        word(cell.word) if cell.text and cell.word else None,
        claim_mark(cell.mark) if cell.mark else None,
    ]
    if column == 0:
        return element("th", *parts, scope="row")
    label = block.head[column] if block.stacked else None
    return element("td", *parts, class_=_side(block, column), data_label=label)


@_block.register
def _chart(block: Chart) -> Markup:
    # `<` would end the element if a label held `</script>`.
    data = json.dumps(block.data, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    holder = element("script", Markup(data.replace("<", "\\u003c")), type="application/json")
    pictures = [
        element("img", src=assets.data_uri(each.svg), alt=f"{each.text}; the tables below have "
                "its numbers")
        for each in block.pictures
    ]  # fmt: skip
    plain = (
        join(*pictures)
        if pictures
        else element("p", "The curves need scripts; their numbers are in the tables below.")
    )
    caption = element("figcaption", block.title)
    return element(
        "figure", caption, holder, element("noscript", plain), class_="chart",
        id=f"chart-{anchor(block.title)}",
    )  # fmt: skip


@_block.register
def _commands(block: Commands) -> Markup:
    lines = [element("li", element("code", line)) for line in block.lines]
    return element("ul", *lines, class_="commands")


@_block.register
def _fold(block: Fold) -> Markup:
    summary = element(
        "summary", element("span", block.title, class_="name"),
        word(block.word) if block.word else None,
        element("span", block.note, class_="note") if block.note else None,
    )  # fmt: skip
    inside = element("div", *map(_block, block.blocks), class_="inside")
    return element("details", summary, inside, id=block.anchor or None)


@_block.register
def _part(block: Part) -> Markup:
    title = f"{block.anchor}-title"
    return element(
        "section", element("h3", block.title, id=title), *map(_block, block.blocks),
        id=block.anchor, class_="part", aria_labelledby=title,
    )  # fmt: skip
