"""Exports as files: a named one, an unnamed temporary one, or a dataset in a folder."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from penstock.exports.atomic_file import replace_file
from penstock.exports.card import write_card
from penstock.exports.formats import EXTENSIONS, check_format
from penstock.exports.parquet import write_parquet
from penstock.exports.records import AnyRecord
from penstock.exports.rows import ExportReport, RowBuilder, iterate_rows
from penstock.exports.spool import RowSpool
from penstock.exports.text import iter_lines


async def export(
    records: AsyncIterator[AnyRecord],
    target: Path | str,
    format: str,  # noqa: A002 - the name that users know
    mapping: Mapping[str, str] | None = None,
) -> ExportReport:
    """Write records to the file ``target``, which appears, or changes, only when it is complete.

    ``mapping`` says where fields come from: ``{"instruction": "user", "output": "generated.answer"}``, each a
    path into the record's state, its metadata, or the record itself. Raises BadInputError for an unknown
    format or field, StorageError when the file cannot be written.
    """
    target = Path(target)
    builder = RowBuilder(format, mapping)
    with replace_file(target) as file:
        await _write(records, builder, file, target.parent)
        builder.report.bytes = file.tell()
    return builder.report


async def open_export(
    records: AsyncIterator[AnyRecord],
    format: str,  # noqa: A002 - the name that users know
    mapping: Mapping[str, str] | None = None,
) -> tuple[IO[bytes], ExportReport]:
    """The export as an unnamed temporary file, at its beginning; the caller closes it.

    Raises BadInputError for an unknown format or field.
    """
    builder = RowBuilder(format, mapping)
    file = tempfile.TemporaryFile(prefix="penstock-export-")  # noqa: SIM115 - the caller closes it
    try:
        await _write(records, builder, cast("BinaryIO", file), None)
        builder.report.bytes = file.tell()
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file, builder.report


async def export_dataset(
    records: AsyncIterator[AnyRecord],
    target: Path | str,
    format: str,  # noqa: A002 - the name that users know
    mapping: Mapping[str, str] | None = None,
    details: Mapping[str, Any] | None = None,
) -> ExportReport:
    """Write a dataset: one file, or a folder with the data, a card and the pipeline.

    ``target`` is a file when its name has a suffix and it is not a folder. For ``details`` see
    ``write_card``; for the errors, ``export``.
    """
    target = Path(target)
    if target.suffix and not target.is_dir():
        return await export(records, target, format, mapping)
    check_format(format)
    data = target / f"train{EXTENSIONS[format]}"
    report = await export(records, data, format, mapping)
    write_card(target, {**(details or {}), "format": format, "data": data.name, "rows": report.rows})
    return report


async def _write(
    records: AsyncIterator[AnyRecord], builder: RowBuilder, file: BinaryIO, folder: Path | None
) -> None:
    """Write the export to ``file``; rows that have to wait are kept in ``folder``."""
    if builder.format == "parquet":
        with RowSpool(folder) as spool:
            async for row in iterate_rows(records, builder):
                spool.add(row)
            builder.raise_if_all_skipped()
            await asyncio.to_thread(write_parquet, spool, file, builder.columns)
        return
    async for line in iter_lines(records, builder.format, builder.mapping, report=builder.report):
        file.write(line)
