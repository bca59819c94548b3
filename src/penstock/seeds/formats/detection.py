"""Which format a seed file has, from its name."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from penstock.errors import BadInputError

SeedFormat = Literal["json", "jsonl", "csv", "parquet", "md"]

PARQUET_MARK = b"PAR1"
"""The first bytes of a Parquet file."""
_EXTENSIONS: dict[str, SeedFormat] = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".md": "md",
    ".markdown": "md",
}


def find_format(name: str) -> SeedFormat | None:
    """The format that belongs to the extension of a file name, or None."""
    return _EXTENSIONS.get(Path(name).suffix.lower())


def is_compressed(name: str) -> bool:
    """Whether a file name is that of a file compressed by gzip."""
    return Path(name).suffix.lower() == ".gz"


def get_format(name: str) -> SeedFormat:
    """The format that belongs to the extension of a file name, before ``.gz``; raises BadInputError."""
    if found := find_format(Path(name).stem if is_compressed(name) else name):
        return found
    raise BadInputError(
        f"{name}: only .json, .jsonl, .csv, .parquet or .md files are accepted, also as .gz. "
        "Rename it, or say which of these formats it has (--seed-format).",
        {"file": name},
    )
