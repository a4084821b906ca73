"""Removes secrets from what leaves the process: configurations, names, messages.

A text is secret by its key (`api_key`, `hf_token`, `password`; not `num_tokens`, `pad_token`,
`key_dim`), as the value of an environment variable of such a name, by its form (`hf_...`, `sk-...`,
`Bearer ...`), or as a URL's user:password. Neither Hydra nor W&B does this: `${oc.env:HF_TOKEN}`
resolves to the token, and W&B writes it into debug.log.
"""

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
SECRET_VARIABLE = re.compile("TOKEN|KEY|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
URL_USER = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s]+@")
ASSIGNMENT = re.compile(r"([\w.+-]+)=([^\s&,;]+)")  # Hydra overrides and URL queries
BEARER = re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE)
FORMS = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{16,}|sk-[\w-]{16,}|gh[pousr]_\w{16,}|github_pat_\w{16,}|AKIA[A-Z0-9]{12,}"
    r"|xox[abp]-[\w-]{10,}|AIza[\w-]{20,}|wandb_v\d_\w{16,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)"
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
    """Values of variables with secret names, longest first; no short or plain words."""
    values = {value.strip() for name, value in environment.items() if SECRET_VARIABLE.search(name)}
    secrets = {
        value for value in values if len(value) >= 8 or (len(value) >= 6 and not value.isalpha())
    }
    return sorted(secrets | {quote(value, safe="") for value in secrets}, key=len, reverse=True)


def _redact_text(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, REDACTED)
    text = URL_USER.sub(rf"\1{REDACTED}@", text)

    def without_value(assignment: re.Match[str]) -> str:
        secret = _names_secret(assignment[1].rpartition(".")[2], is_text=True)
        return f"{assignment[1]}={REDACTED}" if secret else assignment[0]

    text = ASSIGNMENT.sub(without_value, text)
    return FORMS.sub(REDACTED, BEARER.sub(rf"\1 {REDACTED}", text))
