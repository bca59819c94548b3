"""Formats of seed files: one module each, and the table of their readers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

from penstock.seeds.formats.csv_file import read_csv
from penstock.seeds.formats.detection import SeedFormat
from penstock.seeds.formats.json_file import read_json
from penstock.seeds.formats.jsonl_file import read_jsonl
from penstock.seeds.formats.markdown_file import read_markdown
from penstock.seeds.formats.parquet_file import count_parquet_rows, read_parquet
from penstock.seeds.model import Seed

__all__ = ["count_parquet_rows", "read_seeds"]

_READERS: dict[SeedFormat, Callable[[BinaryIO, str], Iterator[Seed]]] = {
    "json": read_json,
    "jsonl": read_jsonl,
    "csv": read_csv,
    "parquet": read_parquet,
    "md": read_markdown,
}


def read_seeds(format: SeedFormat, stream: BinaryIO, name: str) -> Iterator[Seed]:  # noqa: A002 - the name that users know
    """The seeds in ``stream``, one at a time; raises BadInputError with the place in the file ``name``."""
    return _READERS[format](stream, name)
