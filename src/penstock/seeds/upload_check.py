"""What is accepted of an upload: files of some formats and sizes, and seeds that are all usable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePath

from penstock.errors import BadInputError, TooLargeError
from penstock.seeds.formats.detection import SeedFormat, find_format, is_compressed
from penstock.seeds.limits import MAX_UPLOAD_SEEDS
from penstock.seeds.model import NO_SEEDS, Seed, UnusableSeed
from penstock.serialization import to_json_bytes


def find_upload_format(name: str) -> tuple[SeedFormat, bool]:
    """The format of an uploaded file, and whether gzip compressed it; raises BadInputError."""
    is_packed = is_compressed(name)
    chosen = find_format(PurePath(name).stem if is_packed else name)
    if chosen is None:
        raise BadInputError(
            "Only .json or .md files are accepted (and .jsonl, .csv, .parquet, each also as .gz).",
            {"file": name},
        )
    return chosen, is_packed


def check_upload(
    entries: Iterable[Seed | UnusableSeed], name: str, limit: int
) -> Iterator[tuple[Seed, bytes]]:
    """The seeds, each with its line of JSON.

    Raises BadInputError for one that cannot be used, or when there is none, and TooLargeError for too many or
    for more than ``limit`` bytes of them.
    """
    size = count = 0
    for entry in entries:
        if isinstance(entry, UnusableSeed):
            raise entry.error
        line = to_line(entry)
        size += len(line)
        count += 1
        if size > limit:
            raise TooLargeError(
                f"The seeds of {name}, unpacked, are larger than the {limit / 1024 / 1024:.3g} MB that are "
                "accepted. Split the file, or use it with 'penstock run'.",
                {"limit_bytes": limit},
            )
        check_count(count, name)
        yield entry, line
    if not count:
        raise BadInputError(NO_SEEDS)


def check_count(count: int, name: str) -> None:
    """Raise TooLargeError for more seeds than an upload may have."""
    if count > MAX_UPLOAD_SEEDS:
        raise TooLargeError(
            f"{name} has more than the {MAX_UPLOAD_SEEDS:,} seeds that are accepted. Split the file, or "
            "use it with 'penstock run'.",
            {"limit_seeds": MAX_UPLOAD_SEEDS},
        )


def to_line(seed: Seed) -> bytes:
    """A seed as a line of JSON, for ``reader_process.parse_entry``."""
    return to_json_bytes([seed.metadata, seed.repetitions]) + b"\n"
