"""Parquet seed files: each row is a seed, its values converted to the types of JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import UUID

from penstock.errors import BadInputError
from penstock.seeds.limits import check_size
from penstock.seeds.model import Seed

if TYPE_CHECKING:  # importing pyarrow takes longer than everything else here together
    import pyarrow.parquet as pq

_BATCH_ROWS = 1024


class _UnsupportedValueError(Exception):
    """A value that a seed cannot hold; the message goes on from "the column 'x' "."""


def read_parquet(stream: BinaryIO, name: str) -> Iterator[Seed]:
    """The seeds of a Parquet file, in batches; raises BadInputError with the row and the column."""
    import pyarrow as pa

    number = 0
    try:
        file = _open_parquet(stream, name)
        for batch in file.iter_batches(batch_size=_BATCH_ROWS):
            for row in batch.to_pylist(maps_as_pydicts="strict"):
                number += 1
                yield Seed(_convert_row(row, name, number))
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


def _convert_row(row: dict[str, Any], name: str, number: int) -> dict[str, Any]:
    variables = {}
    for column, value in row.items():
        try:
            variables[column] = _to_json_value(value)
        except _UnsupportedValueError as error:
            raise BadInputError(
                f"{name} row {number}: the column {column!r} {error}",
                {"file": name, "row": number, "column": column},
            ) from error
    return variables


def _to_json_value(value: Any) -> Any:
    """The value in the types of JSON: times in ISO form, decimals as numbers, bytes as their text."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, dict):
        return {str(key): _to_json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_json_value(item) for item in value]
    for types, convert in _CONVERTERS:
        if isinstance(value, types):
            return convert(value)
    raise _UnsupportedValueError(f"holds a {type(value).__name__}, which a seed cannot hold.")


def _check_finite(value: float) -> float:
    if math.isfinite(value):
        return value
    raise _UnsupportedValueError(f"holds {value}, which is not a value. Use null instead.")


def _to_number(value: Decimal) -> int | float:
    is_whole = value == value.to_integral_value() and abs(value) < 2**63
    return int(value) if is_whole else float(value)


def _decode(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise _UnsupportedValueError("holds binary data. Leave that column out.") from error


_CONVERTERS: tuple[tuple[type | tuple[type, ...], Callable[[Any], Any]], ...] = (
    (float, _check_finite),
    (Decimal, _to_number),
    ((datetime, date, time), lambda value: value.isoformat()),
    (timedelta, timedelta.total_seconds),
    (UUID, str),
    (bytes, _decode),
)
