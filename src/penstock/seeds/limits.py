"""Limits on seeds and on the files they come from."""

from __future__ import annotations

from penstock.errors import TooLargeError

MAX_UPLOAD_BYTES = 10 * 1024 * 1024
"""Largest seed file that may be uploaded (contract A163)."""
MAX_UNPACKED_BYTES = 1024 * 1024 * 1024
"""Largest uncompressed size of an uploaded Parquet file."""
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
