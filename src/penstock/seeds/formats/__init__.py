"""Formats of seed files: one module each, and the table of their readers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

from penstock.seeds.formats.csv_file import list_csv_notes, read_csv
from penstock.seeds.formats.detection import SeedFormat
from penstock.seeds.formats.json_file import read_json
from penstock.seeds.formats.jsonl_file import read_jsonl
from penstock.seeds.formats.markdown_file import read_markdown
from penstock.seeds.formats.parquet_file import count_parquet_rows, read_parquet
from penstock.seeds.model import Seed, UnusableSeed

__all__ = ["count_parquet_rows", "list_csv_notes", "read_parquet", "read_seeds"]

_READERS: dict[SeedFormat, Callable[[BinaryIO, str], Iterator[Seed | UnusableSeed]]] = {
    "json": read_json,
    "jsonl": read_jsonl,
    "parquet": read_parquet,
    "md": read_markdown,
}


def read_seeds(
    format: SeedFormat,  # noqa: A002 - the name that users know
    stream: BinaryIO,
    name: str,
    separator: str | None = None,
) -> Iterator[Seed | UnusableSeed]:
    """The seeds in ``stream``, one at a time; ``separator`` is that of a CSV file.

    Raises BadInputError with the place in the file ``name`` when nothing after it can be read.
    """
    if format == "csv":
        return read_csv(stream, name, separator)
    return _READERS[format](stream, name)
