"""The separator of a CSV file: found in its first rows, given by a user, or written in its first line."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence

from penstock.errors import BadInputError
from penstock.seeds.formats.detection import SeedFormat

SEPARATORS = ",;\t|"
_NAMES = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "bar": "|"}
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\r?\n?\Z', re.IGNORECASE)
"""What Excel reads, and some programs write for it, as a first line."""


def check_separator(separator: str) -> str:
    """The separator that a user means; raises BadInputError for what cannot be one."""
    chosen = _NAMES.get(separator.lower(), separator)
    if len(chosen) != 1 or chosen in '"\r\n\0 ':
        raise BadInputError(f"A separator is one character, such as ';' or '\\t', not {separator!r}.")
    return chosen


def normalize_separator(separator: str | None, format_: SeedFormat, name: str) -> str | None:
    """The separator that a user has given for the file ``name``, or None; raises BadInputError."""
    if separator is None:
        return None
    if format_ != "csv":
        raise BadInputError(f"{name} is not a CSV file, so it has no separator; leave it out.")
    return check_separator(separator)


def read_separator_line(line: str) -> str | None:
    """The separator that a first line such as ``sep=;`` names, or None for any other line."""
    found = _SEPARATOR_LINE.match(line)
    return found[1] if found else None


def find_separator(lines: Sequence[str]) -> str:
    """The separator that splits most of the rows into as many cells as the header.

    When several do, it is the one with the most cells. A header that none of them splits is one column.
    """
    widths = {separator: _count_cells(lines, separator) for separator in SEPARATORS}
    splitting = [separator for separator in SEPARATORS if (widths[separator] or [0])[0] > 1]
    if splitting:
        return max(splitting, key=lambda separator: _rate(widths[separator]))
    header = next((line for line in lines if line.strip()), "").rstrip("\r\n ")
    if header and header[-1] in SEPARATORS:
        return header[-1]
    # A separator that no row has leaves texts with commas whole; rows that commas split in the same way each
    # time are rather a table whose header is wrong.
    if len(set(widths[","][1:])) == 1:
        return ","
    unused = [separator for separator in SEPARATORS if set(widths[separator]) == {1}]
    return unused[0] if unused else ","


def _rate(widths: Sequence[int]) -> tuple[float, int]:
    """How many of the rows are as wide as the header, and how wide it is."""
    header, rows = widths[0], widths[1:]
    fitting = sum(width == header for width in rows)
    return (fitting / len(rows) if rows else 0.0), header


def _count_cells(lines: Sequence[str], separator: str) -> list[int]:
    """The number of cells of each row that is not empty, without the empty ones at its end."""
    widths: list[int] = []
    try:
        for row in csv.reader(lines, delimiter=separator, strict=True):
            if not row:
                continue
            width = len(row)
            while width > (widths[0] if widths else 1) and not row[width - 1].strip():
                width -= 1
            widths.append(width)
    except csv.Error:  # another separator, or a row that the sample ends in
        widths.append(0)
    return widths
