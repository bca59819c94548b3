"""Rows of an export: the fields of each record in the format's shape, and a count of what was left out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from penstock.errors import BadInputError
from penstock.exports.formats import check_format
from penstock.exports.records import (
    RECORD_FIELDS,
    AnyRecord,
    find_field,
    has_parent,
    list_fields,
    read_main_fields,
    read_record,
)
from penstock.exports.training_formats import TRAINING_FORMATS, TrainingFormat
from penstock.field_paths import ABSENT
from penstock.serialization import to_json_bytes

ROWS_PER_TURN = 200
"""Rows after which other tasks of the event loop get their turn."""
_MAX_KNOWN_FIELDS = 200
_MAX_WAITING_ROWS = 1_000
_JSONL_FIELDS = ("id", "metadata", "status", "accumulated_state", "created_at", "updated_at")


@dataclass(slots=True)
class ExportReport:
    """What an export wrote: rows and bytes; ``skipped`` counts records without what the format needs.

    ``missing`` counts them by the field that they lack.
    """

    rows: int = 0
    bytes: int = 0
    skipped: int = 0
    missing: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data."""
        return asdict(self)


@dataclass(slots=True)
class RowBuilder:
    """Builds the rows of one export, and remembers which fields were missing.

    A mapped field is null in the row of a record that lacks it, where its object is there (an optional field
    of ``generated.answer``) or the format can do without it. A record that lacks any other field has no row.

    ``mapping`` is by field of the format, or by column: the path that its value comes from. Raises
    BadInputError for an unknown format, and for a field that a training format does not have.
    """

    format: str
    mapping: Mapping[str, str] | None = None
    report: ExportReport = field(default_factory=ExportReport)
    _training: TrainingFormat | None = field(init=False)
    _unfound: set[str] = field(init=False)
    _known: dict[str, None] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        check_format(self.format)
        self._unfound = set((self.mapping or {}).values())
        self._training = TRAINING_FORMATS.get(self.format)
        if self._training is None or self.mapping is None:
            return
        fields = list(self._training.sources)
        for name in self.mapping:
            if name not in fields:
                raise BadInputError(
                    f"The format {self.format} has no field '{name}'; map {', '.join(fields)}.",
                    {"field": name, "known": fields},
                )

    @property
    def columns(self) -> list[str] | None:
        """The columns, where they are known before the first record."""
        return list(self.mapping) if self.mapping and self._training is None else None

    def build(self, record: AnyRecord) -> dict[str, Any] | None:
        """The record's row; None when it lacks what the format or the mapping needs."""
        data = read_record(record) if self.mapping or self._training else read_main_fields(record)
        if self._training is not None:
            row = self._build_example(data, self._training)
        elif self.mapping:
            row = self._build_mapped(data, self.mapping)
        else:
            row = _build_line(data) if self.format == "jsonl" else _build_table_row(data)
        if row is None:
            self.report.skipped += 1
        else:
            self.report.rows += 1
        if (row is None or self._unfound) and len(self._known) < _MAX_KNOWN_FIELDS:
            self._known.update(dict.fromkeys(list_fields(data)))
        return row

    @property
    def is_unproven(self) -> bool:
        """Whether a mapped field has not been found in any record yet."""
        return bool(self._unfound)

    def raise_if_field_is_missing(self) -> None:
        """Raise BadInputError when no record has a field that the mapping names, or that the format needs."""
        missing = self.report.missing
        if self._unfound and (self.report.rows or missing):
            path = min(self._unfound, key=lambda path: (-missing.get(path, 0), path))
        elif missing and not self.report.rows:
            path = max(missing, key=missing.__getitem__)
        else:
            return
        is_mapped = self.mapping is not None and path in self.mapping.values()
        advice = "" if is_mapped else f"; map it, as in {path}=generated.answer"
        raise BadInputError(
            f"No record has the field '{path}'{advice}. There are {', '.join(self._known)}.",
            {"field": path, "known": list(self._known)},
        )

    def _build_mapped(self, data: dict[str, Any], mapping: Mapping[str, str]) -> dict[str, Any] | None:
        row = {}
        for name, path in mapping.items():
            value = self._find_mapped(data, path)
            if value is ABSENT and not has_parent(data, path):
                self._count_missing(path)
                return None
            row[name] = None if value is ABSENT else value
        return row

    def _find_mapped(self, data: dict[str, Any], path: str) -> Any:
        value = find_field(data, path)
        if value is not ABSENT:
            self._unfound.discard(path)
        return value

    def _build_example(self, data: dict[str, Any], training: TrainingFormat) -> dict[str, Any] | None:
        """A training example; None for a failed record, and where a field is empty that must not be."""
        if data["status"] == "failed":
            return None
        fields: dict[str, str] = {}
        for name, sources in training.sources.items():
            mapped = (self.mapping or {}).get(name)
            value = self._find_mapped(data, mapped) if mapped else _find_first(data, sources)
            if value is None or value is ABSENT:
                value = "" if name in training.optional else None
            if value is None or (value == "" and name not in training.optional):
                self._count_missing(mapped or name)
                return None
            fields[name] = to_cell(value)
        return training.shape(fields)

    def _count_missing(self, path: str) -> None:
        self.report.missing[path] = self.report.missing.get(path, 0) + 1


async def iterate_rows(
    records: AsyncIterator[AnyRecord], builder: RowBuilder
) -> AsyncIterator[dict[str, Any]]:
    """The rows of the records that have one; raises BadInputError for a field that no record has.

    The first rows wait until each mapped field has been found, so that a wrong path is reported before the
    first row where there are few.
    """
    waiting: list[dict[str, Any]] = []
    count = 0
    async for record in records:
        count += 1
        if count % ROWS_PER_TURN == 0:
            await asyncio.sleep(0)
        if (row := builder.build(record)) is None:
            continue
        if not (waiting or builder.is_unproven):
            yield row
            continue
        waiting.append(row)
        if builder.is_unproven and len(waiting) < _MAX_WAITING_ROWS:
            continue
        for ready in waiting:
            yield ready
        waiting.clear()
    builder.raise_if_field_is_missing()
    for ready in waiting:
        yield ready


async def preview(
    records: AsyncIterator[AnyRecord],
    format: str,  # noqa: A002 - the name that users know
    mapping: Mapping[str, str] | None = None,
    *,
    limit: int,
) -> tuple[list[dict[str, Any]], ExportReport]:
    """The first ``limit`` rows of an export, as data; raises BadInputError as the export would."""
    builder = RowBuilder(format, mapping)
    rows: list[dict[str, Any]] = []
    async for row in iterate_rows(records, builder):
        rows.append(row)
        if len(rows) >= limit:
            return rows, builder.report
    return rows, builder.report


def to_cell(value: Any) -> str:
    """A value where a format has text: text unchanged, anything else as JSON."""
    return value if isinstance(value, str) else to_json_bytes(value).decode()


def _find_first(data: Mapping[str, Any], paths: tuple[str, ...]) -> Any:
    """The value at the first path that exists, or None."""
    for path in paths:
        value = find_field(data, path)
        if value is not ABSENT:
            return value
    return None


def _build_line(data: Mapping[str, Any]) -> dict[str, Any]:
    """A record as a line of JSONL (contract A204); a failed one also has its error."""
    line = {name: data.get(name) for name in _JSONL_FIELDS}
    if data["status"] == "failed" and data.get("error"):
        line["error"] = data["error"]
    return line


def _build_table_row(data: Mapping[str, Any]) -> dict[str, Any]:
    """A record as a row of a table: its own fields, and a column for each variable and field of its state."""
    row = {name: data.get(name) for name in RECORD_FIELDS}
    for source in ("metadata", "accumulated_state"):
        for name, value in data[source].items():
            row[f"{source}.{name}" if name in RECORD_FIELDS else name] = value
    return row
