"""Which format a seed file has: from its name, or from its first bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import orjson

from penstock.errors import BadInputError
from penstock.seeds.formats.text import BYTE_ORDER_MARK

SeedFormat = Literal["json", "jsonl", "csv", "parquet", "md"]

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


def guess_format(start: bytes) -> SeedFormat:
    """The format of content without a name, from its first bytes; raises BadInputError.

    CSV and Markdown cannot be distinguished from other text, so only JSON, JSONL and Parquet are recognised.
    """
    if start.startswith(b"PAR1"):
        return "parquet"
    text = start.removeprefix(BYTE_ORDER_MARK).lstrip()
    if text.startswith(b"["):
        return "json"
    if text.startswith(b"{"):
        try:
            orjson.loads(text.partition(b"\n")[0])
        except orjson.JSONDecodeError:
            return "json"
        return "jsonl"
    raise BadInputError(
        "The format of the seeds cannot be detected from their first bytes; say which it is, "
        "as in --seed-format csv."
    )
