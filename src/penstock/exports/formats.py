"""The formats of an export, and the extensions of their files."""

from __future__ import annotations

from penstock.errors import BadInputError

EXTENSIONS = {
    "jsonl": ".jsonl",
    "csv": ".csv",
    "parquet": ".parquet",
    "openai": ".jsonl",
    "sharegpt": ".jsonl",
    "alpaca": ".jsonl",
}
"""The extension of a file in each format."""

FORMATS = tuple(EXTENSIONS)
"""The formats that records can be exported in."""


def check_format(name: str) -> None:
    """Raise BadInputError unless ``name`` is one of ``FORMATS``."""
    if name not in FORMATS:
        raise BadInputError(f"There is no export format '{name}'; there are {', '.join(FORMATS)}.")
