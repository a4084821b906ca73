"""Names of places in a page."""

import hashlib
import re


def anchor(name: str) -> str:
    """Letters, digits and hyphens; a hash where signs were lost, so that names stay apart."""
    words = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()
    plain = re.fullmatch(r"[A-Za-z0-9_-]+", name) is not None
    return words if plain else f"{words}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
