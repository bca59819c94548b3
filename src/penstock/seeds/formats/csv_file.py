"""CSV and TSV seed files: each row is a seed, the header names its variables, all values are text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO

from penstock.seeds.formats.csv_separator import check_separator, find_separator, read_separator_line
from penstock.seeds.formats.text import binary_error, encoding_error, line_error
from penstock.seeds.model import Seed, UnusableSeed

_MAX_CELL_CHARACTERS = 2**31 - 1
_SAMPLE_LINES = 200
_SAMPLE_CHARACTERS = 1_000_000


@dataclass(frozen=True, slots=True)
class _Table:
    """A table whose header has been read."""

    columns: list[str]
    rows: Iterator[tuple[int, list[str]]]
    """The rows that are not empty, each with the number of its last line."""
    separator: str
    notes: list[str]


def read_csv(stream: BinaryIO, name: str, separator: str | None = None) -> Iterator[Seed | UnusableSeed]:
    """The seeds of a CSV file, row by row; raises BadInputError with the number of the line.

    Empty lines are skipped; every other row must have as many cells as the header, not counting empty ones at
    its end. ``separator`` is found in the first rows unless it is given.
    """
    table = _open_table(stream, name, separator)
    if table is None:
        return
    width = len(table.columns)
    for line, row in table.rows:
        cells = _trim(row, width)
        if len(cells) == width:
            yield Seed(dict(zip(table.columns, cells, strict=True)))
        else:
            message = (
                f"{len(row)} cells, but the header names {width} columns, separated by {table.separator!r}. "
                "If the separator is another character, name it (--separator)."
            )
            yield UnusableSeed(line_error(name, line, message))


def list_csv_notes(stream: BinaryIO, name: str, separator: str | None = None) -> list[str]:
    """What a user should know of how the header is read; raises BadInputError."""
    table = _open_table(stream, name, separator)
    return table.notes if table is not None else []


def _open_table(stream: BinaryIO, name: str, separator: str | None) -> _Table | None:
    """The table, or None when there is not even a header."""
    csv.field_size_limit(_MAX_CELL_CHARACTERS)  # the default, 128 KB, is less than a document
    lines = _decode_lines(stream, name)
    sample = _take_sample(lines)
    first = sample[0] if sample else ""
    skipped = 0
    if (written := read_separator_line(first)) is not None:
        sample, skipped = sample[1:], 1
    if separator is not None:
        separator = check_separator(separator)
    elif name.lower().removesuffix(".gz").endswith(".tsv"):
        separator = "\t"
    else:
        separator = written or find_separator(sample)
    rows = _iterate_rows(chain(sample, lines), separator, name, skipped)
    line, header = next(rows, (0, None))
    if header is None:
        return None
    columns, notes = _name_columns([cell.strip() for cell in header], sample, separator, name)
    _refuse_duplicates(columns, name, line)
    return _Table(columns, rows, separator, notes)


def _iterate_rows(
    lines: Iterator[str], separator: str, name: str, skipped: int
) -> Iterator[tuple[int, list[str]]]:
    rows = csv.reader(lines, delimiter=separator, strict=True)
    try:
        for row in rows:
            if row:
                yield rows.line_num + skipped, row
    except csv.Error as error:
        raise line_error(name, rows.line_num + skipped, f"this is not valid CSV: {error}.") from error


def _decode_lines(stream: BinaryIO, name: str) -> Iterator[str]:
    """The lines with their ends, which may be LF, CR LF or CR alone."""
    for number, line in enumerate(stream, start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise encoding_error(name, number, line) from error
        if "\0" in text:
            raise binary_error(name, number)
        if "\r" in text.removesuffix("\n").removesuffix("\r"):
            yield from io.StringIO(text, newline="")
        else:
            yield text


def _take_sample(lines: Iterator[str]) -> list[str]:
    sample: list[str] = []
    size = 0
    for line in lines:
        sample.append(line)
        size += len(line)
        if len(sample) >= _SAMPLE_LINES or size >= _SAMPLE_CHARACTERS:
            break
    return sample


def _trim(row: list[str], width: int) -> list[str]:
    """The row without empty cells that its end has beyond ``width``."""
    return row[:width] if len(row) > width and not any(row[width:]) else row


def _name_columns(
    header: list[str], sample: Sequence[str], separator: str, name: str
) -> tuple[list[str], list[str]]:
    """The names of the columns, and what to tell about those that the header does not name."""
    notes = []
    named = len(header)
    while named > 1 and not header[named - 1]:
        named -= 1
    if named < len(header) and _is_empty_beyond(named, sample, separator):
        header = header[:named]
        notes.append(f"{name}: the header ends with a separator; what follows has no values and is left out.")
    columns: list[str] = []
    for number, column in enumerate(header, start=1):
        if not column:
            column = f"column_{number}"  # noqa: PLW2901 - the name that it gets
            while column in header:
                column += "_"  # noqa: PLW2901 - until the name is free
            notes.append(f"{name}: column {number} has no name; it is called '{column}'.")
        columns.append(column)
    return columns, notes


def _is_empty_beyond(width: int, sample: Sequence[str], separator: str) -> bool:
    try:
        return not any(any(row[width:]) for row in csv.reader(sample, delimiter=separator))
    except csv.Error:
        return False


def _refuse_duplicates(columns: Sequence[str], name: str, line: int) -> None:
    for number, column in enumerate(columns):
        if column in columns[:number]:
            raise line_error(name, line, f"the column {column!r} is there twice. Rename one of them.")
