"""Removes secrets from what leaves the process: configurations, names, messages.

A text is a secret by its key (`api_key`, `hf_token`, `password`, ...; not `num_tokens`, `pad_token`, `key_dim`, `text_key`), by being
the value of an environment variable whose name says so, by its form (`hf_...`, `sk-...`, `Bearer ...`), or as user:password of a URL.
Neither Hydra nor W&B does any of this: `${oc.env:HF_TOKEN}` resolves to the token, and W&B writes it into debug.log in clear.
"""

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

REDACTED = "***"

# fmt: off
ALWAYS = {
    "password", "passwd", "passphrase", "pwd", "secret", "secrets", "credential", "credentials", "apikey", "authorization", "cookie",
    "bearer",
}
KEY_OWNERS = {
    "access", "account", "api", "auth", "aws", "azure", "client", "encryption", "gcp", "gpg", "hf", "hub", "license", "openai",
    "private", "secret", "service", "session", "signing", "ssh", "storage", "wandb",
}
TEXT_TOKENS = {
    "additional", "begin", "bod", "bos", "blank", "cls", "document", "end", "eod", "eos", "extra", "first", "image", "last", "mask",
    "next", "pad", "prev", "sep", "special", "start", "stop", "unk", "unknown",
}
# fmt: on
SECRET_VARIABLE = re.compile("TOKEN|KEY|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
URL_USER = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s]+@")
ASSIGNMENT = re.compile(r"([\w.+-]+)=([^\s&,;]+)")  # Hydra overrides and URL queries
BEARER = re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE)
FORMS = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{16,}|sk-[\w-]{16,}|gh[pousr]_\w{16,}|github_pat_\w{16,}|AKIA[A-Z0-9]{12,}|xox[abp]-[\w-]{10,}|AIza[\w-]{20,}"
    r"|wandb_v\d_\w{16,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)"
)


def redact(value: Any, environment: Mapping[str, str] | None = None) -> Any:
    """A copy of `value` (nested dicts and lists of plain values) with `***` in place of every secret."""
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
    """The key that judges a value: everything below `credentials:` is secret, whatever its own name."""
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
    """Values of variables whose names say that they are secret, longest first; too short or plain a word is left alone."""
    values = {value.strip() for name, value in environment.items() if SECRET_VARIABLE.search(name)}
    found = {
        value for value in values if len(value) >= 8 or (len(value) >= 6 and not value.isalpha())
    }
    return sorted(found | {quote(value, safe="") for value in found}, key=len, reverse=True)


def _redact_text(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, REDACTED)
    text = URL_USER.sub(rf"\1{REDACTED}@", text)
    text = ASSIGNMENT.sub(
        lambda found: (
            f"{found[1]}={REDACTED}"
            if _names_secret(found[1].rpartition(".")[2], True)
            else found[0]
        ),
        text,
    )
    return FORMS.sub(REDACTED, BEARER.sub(rf"\1 {REDACTED}", text))
