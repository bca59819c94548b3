"""Exports as files: a named one, an unnamed temporary one, or a dataset in a folder."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from penstock.exports.atomic_file import replace_file
from penstock.exports.card import list_card_files, write_card
from penstock.exports.formats import EXTENSIONS, check_format
from penstock.exports.manifest import refuse_foreign_files
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
    *,
    overwrite: bool = False,
) -> ExportReport:
    """Write records to the file ``target``, which appears, or changes, only when it is complete.

    ``mapping`` says where fields come from: ``{"instruction": "user", "output": "generated.answer"}``, each a
    path into the record's state, its metadata, or the record itself. An existing file is replaced only if
    the card beside it lists it and it was not changed since, or with ``overwrite``. Raises BadInputError for
    other files, an unknown format or field, and StorageError when the file cannot be written.
    """
    target = Path(target)
    builder = RowBuilder(format, mapping)
    await asyncio.to_thread(refuse_foreign_files, [target], overwrite=overwrite)
    return await _write_file(records, builder, target, overwrite=overwrite)


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
    *,
    overwrite: bool = False,
) -> ExportReport:
    """Write a dataset: one file, or a folder with the data, a card and the pipeline.

    ``target`` is a file when it is one already, or has a suffix and is not a folder. In a folder, all files
    are checked before the first is written. For ``details`` see ``write_card``; for the rest, ``export``.
    """
    target = Path(target)
    details = details or {}
    builder = RowBuilder(format, mapping)
    files = list_targets(target, format, details)
    await asyncio.to_thread(refuse_foreign_files, files, overwrite=overwrite)
    report = await _write_file(records, builder, files[0], overwrite=overwrite)
    if files != [target]:
        known = {**details, "format": format, "data": files[0].name, "rows": report.rows}
        await asyncio.to_thread(write_card, target, known, overwrite=overwrite)
    return report


def list_targets(target: Path, format: str, details: Mapping[str, Any]) -> list[Path]:  # noqa: A002
    """The files that ``export_dataset`` writes, the data first; raises BadInputError as it does."""
    check_format(format)
    if not target.is_dir() and (target.suffix or target.exists()):
        return [target]
    return [target / name for name in (f"train{EXTENSIONS[format]}", *list_card_files(details))]


async def _write_file(
    records: AsyncIterator[AnyRecord], builder: RowBuilder, target: Path, *, overwrite: bool
) -> ExportReport:
    is_new = not target.exists()
    with replace_file(target) as file:
        await _write(records, builder, file, target.parent)
        builder.report.bytes = file.tell()
        if is_new:  # an export takes a while: the name may have been taken meanwhile
            refuse_foreign_files([target], overwrite=overwrite)
    return builder.report


async def _write(
    records: AsyncIterator[AnyRecord], builder: RowBuilder, file: BinaryIO, folder: Path | None
) -> None:
    """Write the export to ``file``; rows that have to wait are kept in ``folder``."""
    if builder.format == "parquet":
        with RowSpool(folder) as spool:
            async for row in iterate_rows(records, builder):
                spool.add(row)
            await asyncio.to_thread(write_parquet, spool, file, builder.columns)
        return
    async for line in iter_lines(records, builder.format, builder.mapping, report=builder.report):
        file.write(line)
