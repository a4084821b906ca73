"""Removes secrets from what leaves the process: files, configurations, names, messages, output.

A text is secret by its key (`api_key`, `hf_token`, `password`; not `num_tokens`, `pad_token`,
`key_dim`), as the value of an environment variable of such a name, by its form (`hf_...`, `sk-...`,
`Bearer ...`), or as a URL's user:password. Neither Hydra nor W&B does this: `${oc.env:HF_TOKEN}`
resolves to the token, and W&B writes it into debug.log.
"""

import json
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

REDACTED = "***"


def _words(text: str) -> set[str]:
    return set(text.split())


# Keys with one of these words are secret.
ALWAYS = _words("""
    password passwd passphrase pwd secret secrets credential credentials apikey authorization
    cookie bearer
""")
# `key` is secret after one of these,
KEY_OWNERS = _words("""
    access account api auth aws azure client encryption gcp gpg hf hub license openai private
    secret service session signing ssh storage wandb
""")
# and `token` is, except after one of these: they are tokens of text.
TEXT_TOKENS = _words("""
    additional begin bod bos blank cls document end eod eos extra first image last mask next pad
    prev sep special start stop unk unknown
""")
SECRET_VARIABLE = re.compile(
    "TOKEN(?!IZER)|SECRET|PASSW|PASSPHRASE|CREDENTIAL|KEY(?!BOARD|RING|MAP)|_PWD$|_PASS$",
    re.IGNORECASE,
)
OF_A_PLACE = re.compile("(FILE|PATH|DIR|FOLDER|HOME|CACHE|SOCK)$", re.IGNORECASE)
# In all of these a word is looked at from its beginning alone: a long one costs its length.
WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
URL_USER = re.compile(r"(?<![a-zA-Z0-9+.-])([a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s]+@")
USER = re.compile(r"(?<![\w/@.+-])[\w.+-]+:[^\s/@:,;]{3,}@(?=[A-Za-z][\w-]*\.)")  # without a scheme
# Overrides, URL queries, JSON, YAML and Python's dicts: a key, and what parts it from its value.
ASSIGNMENT = re.compile(r"""(?<![\w.+-])(?P<key>[\w.+-]+)(?P<parted>=|["']?[ \t]*:(?!//)[ \t]*)""")
VALUE = re.compile(r"""\\?"[^"]*"?|'[^']*'?|\[[^\]]*\]?|\{[^}]*\}?|[^\s&;}\]]+""")
BEARER = re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE)
FORMS = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{16,}|sk-[\w-]{16,}|gh[pousr]_\w{16,}|github_pat_\w{16,}|AKIA[A-Z0-9]{12,}"
    r"|xox[abp]-[\w-]{10,}|AIza[\w-]{20,}|wandb_v\d_\w{16,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    r"|glpat-[\w-]{16,}|npm_\w{16,}|pypi-[\w-]{32,})"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----(?:.(?!-----END))*.(?:-----END [A-Z ]*-----)?",
    re.DOTALL,
)


def redact(value: Any, environment: Mapping[str, str] | None = None) -> Any:
    """A copy of `value` (nested dicts and lists) with `***` in place of every secret."""
    return _redact(value, _secrets(os.environ if environment is None else environment), key="")


def redact_text(text: str, environment: Mapping[str, str] | None = None) -> str:
    """One text with `***` in place of every secret in it."""
    return _redact_text(text, _secrets(os.environ if environment is None else environment))


def _redact(value: Any, secrets: list[str], key: str) -> Any:
    if isinstance(value, Mapping):
        return {
            _redact(name, secrets, ""): _redact(item, secrets, _inherited(key, name))
            for name, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_redact(item, secrets, key) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if _names_secret(key, is_text=isinstance(value, str)) or (
        isinstance(value, int | float) and str(value) in secrets
    ):
        return REDACTED
    return _redact_text(value, secrets) if isinstance(value, str) else value


def _inherited(parent: str, name: Any) -> str:
    """The key that judges a value: all below `credentials:` is secret."""
    return parent if _names_secret(parent, is_text=True) else str(name)


def _names_secret(key: str, is_text: bool) -> bool:
    words = [word.lower() for word in WORDS.findall(key)] or [""]
    if words[-1] in ALWAYS:
        return True
    if not is_text:
        return False
    before = words[-2] if len(words) > 1 else ""
    return (
        not ALWAYS.isdisjoint(words)
        or words[-1] == "auth"
        or (words[-1] == "token" and before not in TEXT_TOKENS)
        or (words[-1] == "key" and before in KEY_OWNERS)
    )


def _secrets(environment: Mapping[str, str]) -> list[str]:
    """Values of variables with secret names, longest first; no short or plain words.

    As they are, and as URLs, JSON and Python write them.
    """
    values = {
        value.strip()
        for name, value in environment.items()
        if SECRET_VARIABLE.search(name) and not OF_A_PLACE.search(name)
    }
    secrets = {
        value for value in values if len(value) >= 8 or (len(value) >= 6 and not value.isalpha())
    }
    for value in list(secrets):
        secrets |= {quote(value, safe=""), json.dumps(value)[1:-1], repr(value)[1:-1]}
        secrets.add(" ".join(value.split()))
    return sorted(secrets, key=len, reverse=True)


def _redact_text(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, REDACTED)
        if len(secret) >= 20 and re.fullmatch(r"[\w.~+=-]+", secret):
            # Where a message cuts it short.
            text = re.sub(re.escape(secret[:12]) + r"[\w.~+=-]*", REDACTED, text)
    text = BEARER.sub(rf"\1 {REDACTED}", FORMS.sub(REDACTED, text))
    text = USER.sub(f"{REDACTED}@", URL_USER.sub(rf"\1{REDACTED}@", text))
    return _without_values(text)


def _without_values(text: str) -> str:
    """Values of secret keys are redacted: `api_key=x`, `"api_key": "x"`, and YAML below a key."""
    kept, begin = [], 0
    for found in ASSIGNMENT.finditer(text):
        if found.start() < begin or not _assigns_secret(found):
            continue
        value = VALUE.match(text, found.end())
        end = value.end() if value else _end_of_block(text, found)
        if end > found.end():
            blank = "" if value else " "
            kept += [text[begin : found.end()], blank, REDACTED]
            begin = end
    return "".join([*kept, text[begin:]])


def _assigns_secret(found: re.Match[str]) -> bool:
    key = found["key"].rpartition(".")[2]
    if not _names_secret(key, is_text=True):
        return False
    # In prose, `a token: 3.2 nats` is no secret.
    plain = found["parted"][0] not in "=\"'" and key.lower() in ("token", "auth")
    return not plain


def _end_of_block(text: str, found: re.Match[str]) -> int:
    """Where the lines of YAML end that stand deeper than a key without a value of its own."""
    line = text[text.rfind("\n", 0, found.start()) + 1 : found.start()]
    indent = " " * (len(line) - len(line.lstrip(" ")))
    below = re.compile(rf"(?:\n{indent}(?: +|- ).*)+")
    block = below.match(text, found.end())
    return block.end() if block and "=" not in found["parted"] else found.end()
