"""One self-contained HTML page of results: what it says (content), how it is written (html).

Everything that draws or switches is in the page itself; it asks no network for anything.
"""
