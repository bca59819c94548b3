"""Records as exports read them: plain data with the fields of the last state, found by dotted paths."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from penstock.entities import RecordStatus
from penstock.field_paths import ABSENT, find_value
from penstock.serialization import is_same_json
from penstock.storage.tables import to_iso8601

RECORD_FIELDS = ("id", "status", "created_at", "updated_at")
"""The fields of the record itself that a table has columns for."""
_MAX_LISTED_KEYS = 20
_CONSUMED = "$penstock.consumed"
"""Key of the fields that a multiplier took apart: a mapping finds them, and no row has all of them."""


class StoredRecord(Protocol):
    """What an export reads of a stored record."""

    @property
    def id(self) -> int:
        """The record's number."""

    @property
    def status(self) -> RecordStatus:
        """The state of its review."""

    @property
    def created_at(self) -> datetime:
        """When it was made."""

    @property
    def updated_at(self) -> datetime:
        """When it was changed last."""

    @property
    def error(self) -> dict[str, Any] | None:
        """Why it failed."""

    @property
    def metadata(self) -> dict[str, Any]:
        """The variables of its seed."""

    @property
    def consumed(self) -> tuple[str, ...]:
        """Those of them that a multiplier took apart."""

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
        return _read_mapping(record)
    data = record.to_dict(trace=False)
    data["metadata"] = record.own_metadata
    data["accumulated_state"] = record.accumulated_state
    if record.consumed:
        data[_CONSUMED] = {name: record.metadata[name] for name in record.consumed if name in record.metadata}
    return data


def read_main_fields(record: AnyRecord) -> dict[str, Any]:
    """The same with only the fields that rows have which no mapping asks for, in less time.

    Those of a stored record are in the order of a line of JSONL.
    """
    if isinstance(record, Mapping):
        return _read_mapping(record)
    return {
        "id": record.id,
        "metadata": record.own_metadata,
        "status": record.status,
        "accumulated_state": record.accumulated_state,
        "created_at": to_iso8601(record.created_at),
        "updated_at": to_iso8601(record.updated_at),
        "error": record.error,
    }


def find_field(data: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, or ``ABSENT``.

    It is looked for in the last state, else the metadata, else the record, else the fields of the seed that a
    multiplier took apart.
    """
    for container in (data["accumulated_state"], data["metadata"], data):
        if (value := _find_value(container, path)) is not ABSENT:
            return value
    if (consumed := data.get(_CONSUMED)) is None:
        return ABSENT
    return _find_value(consumed, path.removeprefix("metadata."))


def _find_value(container: Mapping[str, Any], path: str) -> Any:
    return container[path] if path in container else find_value(container, path) if "." in path else ABSENT


def has_parent(data: Mapping[str, Any], path: str) -> bool:
    """Whether the object that would hold the last key of a dotted path is there."""
    parent, dot, _ = path.rpartition(".")
    return bool(dot) and isinstance(find_field(data, parent), Mapping)


def list_fields(data: Mapping[str, Any]) -> list[str]:
    """Paths that a mapping could name, for an error message."""
    paths: list[str] = []
    for name, value in {
        **data.get(_CONSUMED, {}),
        **data["metadata"],
        **data["accumulated_state"],
    }.items():
        inner = [f"{name}.{key}" for key in value] if isinstance(value, dict) else []
        paths.extend(inner[:_MAX_LISTED_KEYS] or [name])
    return [*paths, *(name for name in ("output", *RECORD_FIELDS) if data.get(name) is not None)]


def _read_mapping(record: Mapping[str, Any]) -> dict[str, Any]:
    data = dict(record)
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


def _changed_state(trace: Any, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The last state without the keys whose value is still the seed's (contract D8)."""
    last = trace[-1].get("accumulated_state") if isinstance(trace, list) and trace else None
    if not isinstance(last, dict):
        return {}
    return {key: value for key, value in last.items() if not is_same_json(value, metadata.get(key, ABSENT))}
