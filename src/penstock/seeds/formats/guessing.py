"""Which format seeds without a file name have, from their first bytes."""

from __future__ import annotations

import csv
import re

import orjson

from penstock.errors import BadInputError
from penstock.seeds.formats.csv_separator import find_separator, read_separator_line
from penstock.seeds.formats.detection import PARQUET_MARK, SeedFormat
from penstock.seeds.formats.text import BYTE_ORDER_MARK
from penstock.seeds.model import NO_SEEDS

_SAMPLE_LINES = 20
_SAMPLE_CHARACTERS = 64 * 1024
_COLUMN = re.compile(r"[^\W\d][\w .-]{0,63}")
"""What the name of a column looks like, and the beginning of a text hardly does."""


def guess_format(start: bytes) -> SeedFormat:
    """The format of content without a name, from its first bytes; raises BadInputError.

    CSV is recognised by a header of at least two names and rows of as many cells; Markdown is not.
    """
    if start.startswith(PARQUET_MARK):
        return "parquet"
    text = start.removeprefix(BYTE_ORDER_MARK).lstrip()
    if not text:
        raise BadInputError(NO_SEEDS)
    if text.startswith(b"["):
        return "json"
    if text.startswith(b"{"):
        try:
            orjson.loads(text.partition(b"\n")[0])
        except orjson.JSONDecodeError:
            return "json"
        return "jsonl"
    if _is_table(text):
        return "csv"
    raise BadInputError(
        "The format of the seeds cannot be detected from their first bytes; say which it is, "
        "as in --seed-format csv."
    )


def _is_table(text: bytes) -> bool:
    """Whether the first lines can only be those of a CSV file."""
    sample = text[:_SAMPLE_CHARACTERS].decode("utf-8", "replace")
    lines = sample.splitlines(keepends=True)[:_SAMPLE_LINES]
    if lines and read_separator_line(lines[0]) is not None:
        return True
    if len(lines) > 2 and len(lines) < _SAMPLE_LINES and not sample.endswith(("\n", "\r")):
        lines.pop()  # the sample may end in the middle of it
    try:
        rows = [row for row in csv.reader(lines, delimiter=find_separator(lines), strict=True) if row]
    except csv.Error:
        return False
    header = [cell.strip() for cell in rows[0]] if rows else []
    names = len(set(header)) == len(header) >= 2 and all(map(_COLUMN.fullmatch, header))
    return names and len(rows) > 1 and all(len(row) == len(header) for row in rows)
