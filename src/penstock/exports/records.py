"""Records as exports read them: plain data with the fields of the last state, found by dotted paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from penstock.field_paths import ABSENT, find_value
from penstock.serialization import is_same_json

RECORD_FIELDS = ("id", "status", "created_at", "updated_at")
"""The fields of the record itself that a table has columns for."""
_MAX_LISTED_KEYS = 20


class StoredRecord(Protocol):
    """What an export reads of a stored record."""

    @property
    def accumulated_state(self) -> dict[str, Any]:
        """The last state without what is still the seed's (contract D8)."""

    @property
    def own_metadata(self) -> dict[str, Any]:
        """The metadata without the fields that a multiplier took apart."""

    def to_dict(self, *, trace: bool = True) -> dict[str, Any]:
        """The record as the API shows it (contract A187)."""


AnyRecord = StoredRecord | Mapping[str, Any]
"""A stored record, or one in the form of the API."""


def read_record(record: AnyRecord) -> dict[str, Any]:
    """The record as plain data with ``metadata`` and ``accumulated_state``; times in ISO form."""
    if isinstance(record, Mapping):
        data = dict(record)
    else:
        data = record.to_dict(trace=False)
        data["metadata"] = record.own_metadata
        data["accumulated_state"] = record.accumulated_state
    metadata = data.get("metadata")
    data["metadata"] = metadata = metadata if isinstance(metadata, dict) else {}
    if not isinstance(data.get("accumulated_state"), dict):
        data["accumulated_state"] = _changed_state(data.get("trace"), metadata)
    data["status"] = str(data.get("status", "pending"))
    for name in ("created_at", "updated_at"):
        time = data.get(name)
        if time is not None and not isinstance(time, str):
            data[name] = time.isoformat()
    return data


def find_field(data: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path: in the last state, else the metadata, else the record; or ``ABSENT``."""
    is_nested = "." in path
    for container in (data["accumulated_state"], data["metadata"], data):
        if path in container:
            return container[path]
        if is_nested and (value := find_value(container, path)) is not ABSENT:
            return value
    return ABSENT


def has_parent(data: Mapping[str, Any], path: str) -> bool:
    """Whether the object that would hold the last key of a dotted path is there."""
    parent, dot, _ = path.rpartition(".")
    return bool(dot) and isinstance(find_field(data, parent), Mapping)


def list_fields(data: Mapping[str, Any]) -> list[str]:
    """Paths that a mapping could name, for an error message."""
    paths: list[str] = []
    for name, value in {**data["metadata"], **data["accumulated_state"]}.items():
        inner = [f"{name}.{key}" for key in value] if isinstance(value, dict) else []
        paths.extend(inner[:_MAX_LISTED_KEYS] or [name])
    return [*paths, *(name for name in ("output", *RECORD_FIELDS) if data.get(name) is not None)]


def _changed_state(trace: Any, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The last state without the keys whose value is still the seed's (contract D8)."""
    last = trace[-1].get("accumulated_state") if isinstance(trace, list) and trace else None
    if not isinstance(last, dict):
        return {}
    return {key: value for key, value in last.items() if not is_same_json(value, metadata.get(key, ABSENT))}
