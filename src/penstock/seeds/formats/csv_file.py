"""CSV and TSV seed files: each row is a seed, the header names its variables, all values are text."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import BinaryIO

from penstock.seeds.formats.text import binary_error, encoding_error, line_error
from penstock.seeds.model import Seed

_SEPARATORS = ",;\t|"
_MAX_CELL_CHARACTERS = 2**31 - 1


def read_csv(stream: BinaryIO, name: str) -> Iterator[Seed]:
    """The seeds of a CSV file, row by row; raises BadInputError with the number of the line.

    Empty lines are skipped; every other row must have as many cells as the header.
    """
    csv.field_size_limit(_MAX_CELL_CHARACTERS)  # the default, 128 KB, is less than a document
    lines = _decode_lines(stream, name)
    first = next(lines, None)
    if first is None:
        return
    rows = csv.reader(chain([first], lines), delimiter=_find_separator(first, name), strict=True)
    try:
        columns = [column.strip() for column in next(rows)]
        _check_columns(columns, name, rows.line_num)
        for row in rows:
            if not row:
                continue
            if len(row) != len(columns):
                message = f"{len(row)} cells, but the header names {len(columns)} columns."
                raise line_error(name, rows.line_num, message)
            yield Seed(dict(zip(columns, row, strict=True)))
    except csv.Error as error:
        raise line_error(name, rows.line_num, f"this is not valid CSV: {error}.") from error


def _decode_lines(stream: BinaryIO, name: str) -> Iterator[str]:
    for number, line in enumerate(stream, start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise encoding_error(name, number) from error
        if "\0" in text:
            raise binary_error(name, number)
        yield text


def _find_separator(header: str, name: str) -> str:
    """A tab for a .tsv file, else the separator that is most frequent in the header outside of quotes."""
    if name.lower().endswith(".tsv"):
        return "\t"
    unquoted = "".join(header.split('"')[::2])
    return max(_SEPARATORS, key=unquoted.count)


def _check_columns(columns: Sequence[str], name: str, line: int) -> None:
    for number, column in enumerate(columns, start=1):
        if not column:
            raise line_error(
                name, line, f"column {number} has no name. Each column is a variable, so name it."
            )
        if column in columns[: number - 1]:
            raise line_error(name, line, f"the column {column!r} is there twice. Rename one of them.")
