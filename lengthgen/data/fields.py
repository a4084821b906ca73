"""Fields of a record by their keys: a field of its own, or of a field, which is `data.text`."""

from collections.abc import Mapping
from typing import Any

from lengthgen.data.datasets.base import utf8
from lengthgen.errors import DataError

MISSING = object()


def get(record: Mapping[str, Any], key: str | None) -> Any:
    """The value under `key`, or MISSING. `data.text` is a field of its own, or `text` in `data`."""
    if key is None or key in record:
        return MISSING if key is None else record[key]
    value: Any = record
    for part in key.split("."):
        if value is None:
            return None
        if not isinstance(value, Mapping) or part not in value:
            return MISSING
        value = value[part]
    return value


def text_of(record: Mapping[str, Any], key: str, errors: str, place: str) -> bytes | None:
    """The text in a record as UTF-8; None where it is null or its field is missing."""
    value = get(record, key)
    if value is None or value is MISSING:
        return None
    if isinstance(value, bytes):
        return utf8(value, errors, place)
    if not isinstance(value, str):
        raise DataError(
            f"{place}: dataset.text_key={key} holds {type(value).__name__}, expected text; "
            f"the record has {columns(record)}: name another with dataset.text_key=COLUMN"
        )
    # JSON can spell lone surrogates: surrogatepass lets utf8() report them by their offset
    return utf8(value.encode("utf-8", "surrogatepass"), errors, place)


def require(record: Mapping[str, Any], key: str, place: str) -> None:
    """DataError unless a record, the first one, has the field."""
    if get(record, key) is MISSING:
        raise DataError(no_column(place, key, columns(record)))


def no_column(place: str, key: str, present: str) -> str:
    return f"{place} has no column {key!r}; it has {present}: set dataset.text_key=COLUMN"


def columns(record: Mapping[str, Any]) -> str:
    """The names of the fields, as a key names them: `id, data.text, data.url`."""
    names = []
    for name, value in record.items():
        inside = value if isinstance(value, Mapping) else {}
        names += [f"{name}.{part}" for part in inside] or [str(name)]
    return ", ".join(names[:20]) + (", ..." if len(names) > 20 else "") or "nothing"
