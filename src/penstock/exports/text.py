"""Exports as lines of text: JSONL, the training formats, and CSV."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from penstock.errors import BadInputError
from penstock.exports.records import AnyRecord
from penstock.exports.rows import ROWS_PER_TURN, ExportReport, RowBuilder, iterate_rows, to_cell
from penstock.exports.spool import RowSpool
from penstock.serialization import to_json_bytes


async def iter_lines(
    records: AsyncIterator[AnyRecord],
    format: str,  # noqa: A002 - the name that users know
    mapping: Mapping[str, str] | None = None,
    *,
    report: ExportReport | None = None,
) -> AsyncIterator[bytes]:
    """The export line by line, for an HTTP response or a pipe; any format but Parquet.

    Raises BadInputError for an unknown format or field, before the first line.
    """
    if format == "parquet":
        raise BadInputError("Parquet is not text; use open_export, which returns a file.")
    builder = RowBuilder(format, mapping, report or ExportReport())
    if format == "csv":
        iterate = _iterate_spooled_csv_lines if builder.columns is None else _iterate_csv_lines
        async for line in iterate(records, builder):
            builder.report.bytes += len(line)
            yield line
        return
    async for row in iterate_rows(records, builder):
        line = to_json_bytes(row) + b"\n"
        builder.report.bytes += len(line)
        yield line


async def _iterate_csv_lines(records: AsyncIterator[AnyRecord], builder: RowBuilder) -> AsyncIterator[bytes]:
    """The lines of a table whose columns a mapping names."""
    writer = _CsvWriter(builder.columns or ())
    header = writer.format_header()  # goes with the first row, so that an error comes before any line
    async for row in iterate_rows(records, builder):
        yield header + writer.format_row(row)
        header = b""
    if header:
        yield header


async def _iterate_spooled_csv_lines(
    records: AsyncIterator[AnyRecord], builder: RowBuilder
) -> AsyncIterator[bytes]:
    """The lines of a table that has a column for each field of any record."""
    with RowSpool(None) as spool:
        async for row in iterate_rows(records, builder):
            spool.add(row)
        if not spool.columns:
            return
        writer = _CsvWriter(list(spool.columns))
        yield writer.format_header()
        for number, row in enumerate(spool, start=1):
            yield writer.format_row(row)
            if number % ROWS_PER_TURN == 0:
                await asyncio.sleep(0)


class _CsvWriter:
    """Rows as CSV in UTF-8 (RFC 4180): text unchanged, null as an empty cell, anything else as JSON."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self._writer = csv.writer(_Line())

    def format_header(self) -> bytes:
        return self._format(self._columns)

    def format_row(self, row: Mapping[str, Any]) -> bytes:
        values = map(row.get, self._columns)
        return self._format([value if isinstance(value, str) else _to_csv_cell(value) for value in values])

    def _format(self, cells: Iterable[str]) -> bytes:
        line: str = self._writer.writerow(cells)
        return line.encode("utf-8", "replace")


class _Line:
    """A file that returns what is written to it: ``writerow`` then returns the line."""

    def write(self, line: str) -> str:
        return line


def _to_csv_cell(value: Any) -> str:
    return "" if value is None else to_cell(value)
