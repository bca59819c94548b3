"""Dotted paths into the values that a JSON Schema describes.

They are read as ``field_paths`` reads them in the values themselves, so that a path which is found when the
pipeline runs is not reported here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from penstock.field_paths import find_keys, find_value

_OPEN = {"$ref", "anyOf", "oneOf", "allOf", "if"}
"""Keywords of a schema whose properties may be described elsewhere."""


def find_missing(schema: Mapping[str, Any], path: str) -> tuple[str, list[str]] | None:
    """The first name of ``path`` that ``schema`` does not have, and the names that it has there.

    None when the path exists, or may exist.
    """
    described = _Described(schema)
    if find_keys(described, path) is not None:
        return None
    for name in path.split("."):
        if name not in described:
            return name, list(described)
        described = described[name]
    return None


def find_missing_key(schema: Mapping[str, Any], key: str) -> list[str] | None:
    """The keys that objects of ``schema`` have, when ``key`` is not one of them; else None."""
    described = _Described(schema)
    return None if key in described or not described.is_closed else list(described)


def find_schema(schemas: Mapping[str, Mapping[str, Any]], field: str) -> Mapping[str, Any] | None:
    """The schema of ``field``, which may be a path inside one of ``schemas``; None when it is not known."""
    top, _, path = field.partition(".")
    schema = schemas.get(top)
    if schema is None or not path:
        return schema
    found = find_value(_Described(schema), path)
    return found.schema if isinstance(found, _Described) else None


class _Described(Mapping[str, Any]):
    """A JSON Schema as a mapping: from the names that its values have, or may have, to their schemas."""

    def __init__(self, schema: Any) -> None:
        is_known = isinstance(schema, Mapping) and not schema.keys() & _OPEN
        self.schema: Mapping[str, Any] | None = schema if isinstance(schema, Mapping) else None
        properties = schema.get("properties") if is_known else None
        self._properties = properties if isinstance(properties, Mapping) else None
        self._items = schema.get("items") if is_known else None

    @property
    def is_closed(self) -> bool:
        """Whether the schema says which names there are."""
        return self._properties is not None

    def __contains__(self, name: object) -> bool:
        if self._properties is not None:
            return name in self._properties
        index, _, rest = str(name).partition(".")
        return not (rest and index.isdecimal())  # ``0.title`` is the name ``title`` in an item of a list

    def __getitem__(self, name: str) -> _Described:
        if self._properties is not None:
            return _Described(self._properties[name])
        return _Described(self._items if name.isdecimal() else None)

    def __iter__(self) -> Iterator[str]:
        return map(str, self._properties or ())

    def __len__(self) -> int:
        return len(self._properties or ())
