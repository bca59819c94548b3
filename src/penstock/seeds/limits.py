"""Limits on seeds and on the files they come from."""

from __future__ import annotations

from typing import BinaryIO

from penstock.errors import TooLargeError

MAX_UPLOAD_BYTES = 10 * 1024 * 1024
"""Largest seed file that may be uploaded (contract A163)."""
MAX_UNPACKED_BYTES = 100 * 1024 * 1024
"""How much the seeds of an upload may hold, as JSON: a compressed file is much smaller than its content."""
MAX_UPLOAD_SEEDS = 500_000
"""How many seeds an upload may have."""
MAX_WHOLE_BYTES = 64 * 1024 * 1024
"""Largest JSON or Markdown file, which is loaded whole; unpacked, if it is compressed."""
MAX_SPOOLED_BYTES = 1024 * 1024 * 1024
"""Largest content of a compressed Parquet file, which is unpacked into a temporary file."""
MAX_JSON_ITEMS = 3_000_000
"""How many commas and opening brackets a JSON text may have: values take far more memory than their text."""
MAX_SEED_BYTES = 32 * 1024 * 1024
"""Largest row or line of a file."""
MAX_SEED_VALUES = 100_000
"""How many values the variables of a seed may have: every record copies, hashes and stores them."""
MAX_COLUMNS = 10_000
"""How many columns a CSV or Parquet file may have."""
MAX_REPETITIONS = 1_000_000_000
"""Largest number of repetitions of one seed; a larger one is a typing error."""
MAX_DEPTH = 100
"""How deep the variables of a seed may be nested: JSON writers and copies further on recurse."""


def check_size(size: int, limit: int | None, name: str) -> None:
    """Raise TooLargeError when ``size`` bytes are more than ``limit``; None is no limit."""
    if limit is not None and size > limit:
        raise TooLargeError(
            f"{name} is larger than the {limit / 1024 / 1024:.3g} MB that are accepted.",
            {"limit_bytes": limit},
        )


def read_whole(stream: BinaryIO, name: str, format: str) -> bytes:  # noqa: A002 - the name that users know
    """The content of a file that is loaded whole; raises TooLargeError beyond ``MAX_WHOLE_BYTES``."""
    data = stream.read(MAX_WHOLE_BYTES + 1)
    if len(data) > MAX_WHOLE_BYTES:
        raise TooLargeError(
            f"{name} is larger than {MAX_WHOLE_BYTES // 1024 // 1024} MB; {format} files are loaded whole. "
            "Use a JSONL file, which is read line by line.",
            {"limit_bytes": MAX_WHOLE_BYTES},
        )
    return data
