"""Parquet seed files: each row is a seed, its values converted to the types of JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from penstock.errors import BadInputError
from penstock.seeds.formats.parquet_values import UnsupportedValueError, iterate_values
from penstock.seeds.limits import check_size
from penstock.seeds.model import Seed, UnusableSeed, check_values

if TYPE_CHECKING:  # importing pyarrow takes longer than everything else here together
    import pyarrow.parquet as pq

_BATCH_ROWS = 1024


def read_parquet(stream: BinaryIO, name: str) -> Iterator[Seed | UnusableSeed]:
    """The seeds of a Parquet file, in batches; raises BadInputError when it cannot be read further."""
    import pyarrow as pa

    number = 0
    try:
        file = _open_parquet(stream, name)
        for batch in file.iter_batches(batch_size=_BATCH_ROWS):
            names = batch.schema.names
            for row in zip(*map(iterate_values, batch.columns), strict=True):
                number += 1
                yield _make_seed(dict(zip(names, row, strict=True)), name, number)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise BadInputError(f"{name} cannot be read after row {number}: {error}", {"file": name}) from error


def count_parquet_rows(stream: BinaryIO, name: str, unpacked_limit: int | None) -> int:
    """The number of rows; raises TooLargeError when they unpack to more than ``unpacked_limit`` bytes."""
    metadata = _open_parquet(stream, name).metadata
    unpacked = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    check_size(unpacked, unpacked_limit, f"{name}, unpacked,")
    return int(metadata.num_rows)


def _open_parquet(stream: BinaryIO, name: str) -> pq.ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(stream)
    except (pa.ArrowException, OSError) as error:
        raise BadInputError(f"{name} is not a readable Parquet file: {error}", {"file": name}) from error
    names = file.schema_arrow.names
    if repeated := {column for column in names if names.count(column) > 1}:
        raise BadInputError(
            f"{name} has the column {min(repeated)!r} twice. Rename one of them.", {"file": name}
        )
    return file


def _make_seed(row: dict[str, Any], name: str, number: int) -> Seed | UnusableSeed:
    for column, value in row.items():
        if isinstance(value, UnsupportedValueError):
            detail = {"file": name, "row": number, "column": column}
            return UnusableSeed(BadInputError(f"{name} row {number}: the column {column!r} {value}", detail))
    try:
        check_values(row, f"{name} row {number}")
    except BadInputError as error:
        return UnusableSeed(error)
    return Seed(row)
