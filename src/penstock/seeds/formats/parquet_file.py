"""Parquet seed files: each row is a seed, its values converted to the types of JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from penstock.errors import BadInputError
from penstock.seeds.formats.parquet_values import (
    UnsupportedValueError,
    count_values,
    is_plain,
    iterate_values,
)
from penstock.seeds.limits import MAX_COLUMNS, MAX_SEED_VALUES
from penstock.seeds.model import Seed, UnusableSeed, check_values, many_values_error

if TYPE_CHECKING:  # importing pyarrow takes longer than everything else here together
    import pyarrow.parquet as pq

_BATCH_ROWS = 1024
_BATCH_BYTES = 8 * 1024 * 1024
_BATCH_VALUES = 100_000
_MOST_VALUES = 1_000_000
"""How many values are converted at once; rows that have more together are converted one by one."""
_TEXT_TYPES = frozenset({"STRING", "NONE", "JSON", "ENUM"})
"""Logical types of columns of bytes that Arrow can leave in the form of a dictionary."""
_LONGEST_REASON = 300


def read_parquet(stream: BinaryIO, name: str, *, skip_plain: bool = False) -> Iterator[Seed | UnusableSeed]:
    """The seeds of a Parquet file, in batches; raises BadInputError when it cannot be read further.

    A text that many rows share takes its memory once for a batch. A batch is small in bytes, as far as its
    size can be known before it is read; run in a process with a memory limit for files of unknown origin.
    With ``skip_plain`` batches are left out whose rows can all be used, as far as that is cheap to know.
    """
    import pyarrow as pa

    number = 0
    try:
        file = _open_parquet(stream, name)
        for batch in file.iter_batches(batch_size=_choose_batch_rows(file), use_threads=False):
            if skip_plain and all(is_plain(column.type) for column in batch.columns):
                number += batch.num_rows
                continue
            for part in _split_batch(batch):
                if part.num_rows == 1 and _count_values(part) > MAX_SEED_VALUES:
                    number += 1
                    yield UnusableSeed(many_values_error(f"{name} row {number}"))
                    continue
                for row in zip(*map(iterate_values, part.columns), strict=True):
                    number += 1
                    yield _make_seed(dict(zip(part.schema.names, row, strict=True)), name, number)
    except (pa.ArrowException, OSError, ValueError, KeyError, MemoryError) as error:
        reason = _explain(error)
        raise BadInputError(f"{name} cannot be read after row {number}: {reason}", {"file": name}) from error


def count_parquet_rows(stream: BinaryIO, name: str) -> int:
    """The number of rows, as the file says itself."""
    return int(_open_parquet(stream, name).metadata.num_rows)


def _open_parquet(stream: BinaryIO, name: str) -> pq.ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(stream)
        file = pq.ParquetFile(stream, metadata=metadata, read_dictionary=_list_texts(metadata.schema))
        names = file.schema_arrow.names
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = _explain(error)
        raise BadInputError(f"{name} is not a readable Parquet file: {reason}", {"file": name}) from error
    _check_columns(names, metadata.num_columns, name)
    return file


def _check_columns(names: Sequence[str], count: int, name: str) -> None:
    """Raise BadInputError for too many columns, none, or two of the same name; ``count`` has nested ones."""
    if count > MAX_COLUMNS:
        raise BadInputError(
            f"{name} has {count:,} columns, more than the {MAX_COLUMNS:,} that are possible. Leave some out.",
            {"file": name},
        )
    if not names:
        raise BadInputError(f"{name} has no columns.", {"file": name})
    seen: set[str] = set()
    for column in names:
        if column in seen:
            raise BadInputError(
                f"{name} has the column {column!r} twice. Rename one of them.", {"file": name}
            )
        seen.add(column)


def _list_texts(schema: Any) -> list[str]:
    """The columns of text, which can be read without making a copy of a text for each row that has it.

    Texts inside of lists and structs are left out: Arrow is slow to take them out of a dictionary.
    """
    columns = (schema.column(index) for index in range(len(schema)))
    return [
        column.path
        for column in columns
        if column.physical_type == "BYTE_ARRAY"
        and column.logical_type.type in _TEXT_TYPES
        and column.path == column.name
        and column.max_repetition_level == 0
    ]


def _choose_batch_rows(file: pq.ParquetFile) -> int:
    """How many rows to read at once, from the largest row group by bytes and by values a row."""
    rows = _BATCH_ROWS
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        count = max(group.num_rows, 1)
        values = sum(group.column(index).num_values for index in range(group.num_columns))
        rows = min(rows, _BATCH_BYTES * count // max(group.total_byte_size, 1))
        rows = min(rows, _BATCH_VALUES * count // max(values, 1))
    return max(rows, 1)


def _split_batch(batch: Any) -> Iterable[Any]:
    """The batch, or each of its rows when they have very many values together."""
    if _count_values(batch) <= _MOST_VALUES:
        return (batch,)
    return (batch.slice(row, 1) for row in range(batch.num_rows))


def _count_values(batch: Any) -> int:
    return sum(map(count_values, batch.columns))


def _explain(error: Exception) -> str:
    """The first line of what Arrow says, or what it means."""
    if isinstance(error, MemoryError):
        return "it needs too much memory"
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:_LONGEST_REASON]


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
