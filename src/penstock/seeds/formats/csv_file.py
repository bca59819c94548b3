"""CSV and TSV seed files: each row is a seed, the header names its variables, all values are text."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO

from penstock.seeds.formats.csv_separator import (
    SEPARATORS,
    check_separator,
    find_separator,
    read_separator_line,
)
from penstock.seeds.formats.text import binary_error, encoding_error, line_error, read_lines, size_error
from penstock.seeds.limits import MAX_COLUMNS, MAX_SEED_BYTES
from penstock.seeds.model import Seed, UnusableSeed

_SEPARATORS = [mark.encode() for mark in SEPARATORS]
_MAX_SEPARATORS = 1_000_000
"""How many separators a line may have."""
_MAX_NOTES = 5
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
    csv.field_size_limit(2 * MAX_SEED_BYTES)  # the default, 128 KB, is less than a document
    lines = _Lines(stream, name)
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
        separator = written or find_separator(_shorten(sample))
    rows = _iterate_rows(sample, lines, separator, skipped)
    line, header = next(rows, (0, None))
    if header is None:
        return None
    columns, notes = _name_columns([cell.strip() for cell in header], sample, separator, name)
    _check_columns(columns, name, line)
    return _Table(columns, rows, separator, notes)


class _Lines:
    """The lines of the file with their ends; ``row_bytes`` is what has been read of the present row."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self.name = name
        self.row_bytes = 0
        self._number = 0
        self._lines = read_lines(stream, name)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self._number += 1
        self.row_bytes += len(line)
        if self.row_bytes > MAX_SEED_BYTES:
            raise size_error(self.name, self._number, ", or close the quotation mark of a cell before it")
        if len(line) > _MAX_SEPARATORS and max(map(line.count, _SEPARATORS)) > _MAX_SEPARATORS:
            raise line_error(self.name, self._number, f"more than {_MAX_SEPARATORS:,} cells. Split the row.")
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise encoding_error(self.name, self._number, line) from error
        if "\0" in text:
            raise binary_error(self.name, self._number)
        return text


def _iterate_rows(
    sample: list[str], lines: _Lines, separator: str, skipped: int
) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, those of the lines in ``sample`` first."""
    rows = csv.reader(chain(sample, lines), delimiter=separator, strict=True)
    lines.row_bytes = 0
    try:
        for row in rows:
            lines.row_bytes = 0
            if row:
                yield rows.line_num + skipped, row
    except csv.Error as error:
        raise line_error(lines.name, rows.line_num + skipped, f"this is not valid CSV: {error}.") from error


def _take_sample(lines: Iterator[str]) -> list[str]:
    sample: list[str] = []
    size = 0
    for line in lines:
        sample.append(line)
        size += len(line)
        if len(sample) >= _SAMPLE_LINES or size >= _SAMPLE_CHARACTERS:
            break
    return sample


def _shorten(sample: list[str]) -> list[str]:
    """The sample with an end to a last line that is very long."""
    return [*sample[:-1], sample[-1][:_SAMPLE_CHARACTERS]] if sample else sample


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
    taken = set(header)
    columns: list[str] = []
    unnamed = 0
    for number, column in enumerate(header, start=1):
        if not column:
            column = f"column_{number}"  # noqa: PLW2901 - the name that it gets
            while column in taken:
                column += "_"  # noqa: PLW2901 - until the name is free
            unnamed += 1
            if unnamed <= _MAX_NOTES:
                notes.append(f"{name}: column {number} has no name; it is called '{column}'.")
        columns.append(column)
    if unnamed > _MAX_NOTES:
        notes.append(f"{name}: {unnamed - _MAX_NOTES} more columns have no name and are called alike.")
    return columns, notes


def _is_empty_beyond(width: int, sample: Sequence[str], separator: str) -> bool:
    try:
        return not any(any(row[width:]) for row in csv.reader(sample, delimiter=separator))
    except csv.Error:
        return False


def _check_columns(columns: Sequence[str], name: str, line: int) -> None:
    """Raise BadInputError for too many columns, or two of the same name."""
    if len(columns) > MAX_COLUMNS:
        raise line_error(
            name,
            line,
            f"{len(columns):,} columns are more than the {MAX_COLUMNS:,} that are possible. Leave some out.",
        )
    seen: set[str] = set()
    for column in columns:
        if column in seen:
            raise line_error(name, line, f"the column {column!r} is there twice. Rename one of them.")
        seen.add(column)
