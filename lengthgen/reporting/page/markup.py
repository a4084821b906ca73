"""HTML elements, whose text is escaped unless it is an element itself."""

from html import escape


class Markup(str):
    """HTML that was made here. Every other string is text."""


VOID = frozenset({"br", "img", "input", "meta", "link"})


def element(tag: str, *children: str | None, **attributes: str | bool | None) -> Markup:
    """`<tag a="b">children</tag>`. An underscore in an attribute's name is a hyphen, a last one
    is dropped (`class_`); None and False leave an attribute or a child out."""
    words = [tag]
    for name, value in attributes.items():
        name = name.rstrip("_").replace("_", "-")
        if value is True:
            words.append(name)
        elif value is not None and value is not False:
            words.append(f'{name}="{escape(value)}"')
    start = f"<{' '.join(words)}>"
    return Markup(start if tag in VOID else f"{start}{join(*children)}</{tag}>")


def join(*children: str | None) -> Markup:
    """One after the other, text escaped."""
    return Markup(
        "".join(
            child if isinstance(child, Markup) else escape(child, quote=False)
            for child in children
            if child is not None
        )
    )
