"""Exports as Parquet: the types of the columns follow from the values.

Rows are read twice, once to find the types and once to write them. A column whose values have no type in
common is written as text: texts unchanged, other values as JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from penstock.errors import StorageError
from penstock.exports.rows import to_cell
from penstock.exports.spool import RowSpool

_GROUP_ROWS = 1_000
_GROUP_BYTES = 4 * 1024 * 1024
"""A row group ends at the first of these two limits, which bounds the memory of an export."""
_MAX_STRUCT_FIELDS = 100
"""A column whose objects have more keys than this is written as text: a structure needs each as a field."""

Row = dict[str, Any]


def write_parquet(spool: RowSpool, file: BinaryIO, columns: Sequence[str] | None) -> None:
    """Write the rows to ``file``; None for ``columns`` means all that the rows have.

    Raises StorageError for a column that cannot be written even as text.
    """
    table = _Table(columns if columns is not None else list(spool.columns))
    for rows in _iterate_groups(spool):
        table.infer_types(rows)
    table.replace_null_types()
    while (failed := _try_to_write(spool, file, table)) is not None:
        if failed in table.as_text:
            raise StorageError(f"The column '{failed}' cannot be written as Parquet; export it as JSONL.")
        table.use_text(failed)


def _try_to_write(spool: RowSpool, file: BinaryIO, table: _Table) -> str | None:
    """Write all rows; or return the name of a column with a value that does not fit the column's type."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own keeps memory that row groups no longer need
    schema = table.make_schema()
    file.seek(0)
    file.truncate()
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for rows in _iterate_groups(spool):
            arrays = []
            for name in table.names:
                try:
                    arrays.append(table.make_array(rows, name, table.types.get(name)))
                except (pa.ArrowException, OverflowError, TypeError, ValueError):
                    return name
            writer.write_batch(pa.record_batch(arrays, schema=schema))
    return None


class _Table:
    """The columns of a file and their types; ``as_text`` names the columns without a common type."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.types: dict[str, Any] = {}
        self.as_text: set[str] = set()

    def infer_types(self, rows: Sequence[Row]) -> None:
        """Extend the types so that they hold the values of ``rows`` too."""
        import pyarrow as pa

        for name in self.names:
            if name in self.as_text:
                continue
            try:
                self.types[name] = self._extend_type(name, self.make_array(rows, name, None).type)
            except (pa.ArrowException, OverflowError, TypeError, ValueError, RecursionError):
                self.use_text(name)

    def replace_null_types(self) -> None:
        """Make text of what was null in every row, since other readers know no column of nulls."""
        self.types = {name: _replace_null(type_) for name, type_ in self.types.items()}

    def use_text(self, name: str) -> None:
        """Write the column as text."""
        import pyarrow as pa

        self.as_text.add(name)
        self.types[name] = pa.string()

    def make_schema(self) -> Any:
        import pyarrow as pa

        return pa.schema([(name, self.types.get(name, pa.string())) for name in self.names])

    def make_array(self, rows: Sequence[Row], name: str, type_: Any) -> Any:
        """The values of a column; ``type_`` None means the type that pyarrow infers from them."""
        import pyarrow as pa

        values = [row.get(name) for row in rows]
        if name in self.as_text:
            values = [None if value is None else _to_valid_text(value) for value in values]
        elif type_ is None and _has_many_keys(values):
            raise TypeError(name)
        return pa.array(values, type=type_)

    def _extend_type(self, name: str, found: Any) -> Any:
        import pyarrow as pa

        if name in self.types:
            pair = [pa.schema([(name, self.types[name])]), pa.schema([(name, found)])]
            found = pa.unify_schemas(pair, promote_options="permissive").field(0).type
        if not _is_writable(found):
            raise pa.ArrowTypeError(name)
        return found


def _to_valid_text(value: Any) -> str:
    """The value as text that UTF-8 can hold: ``?`` for lone surrogates."""
    return to_cell(value).encode("utf-8", "replace").decode()


def _has_many_keys(values: Iterable[Any]) -> bool:
    keys: set[str] = set()
    for value in values:
        if isinstance(value, dict):
            keys.update(value)
            if len(keys) > _MAX_STRUCT_FIELDS:
                return True
    return False


def _is_writable(type_: Any) -> bool:
    """Whether Parquet can hold the type; it has no structure without fields."""
    import pyarrow as pa

    if pa.types.is_struct(type_):
        fields = (type_.field(index) for index in range(type_.num_fields))
        return type_.num_fields > 0 and all(_is_writable(field.type) for field in fields)
    return _is_writable(type_.value_type) if pa.types.is_list(type_) else True


def _replace_null(type_: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_null(type_):
        return pa.string()
    if pa.types.is_list(type_):
        return pa.list_(_replace_null(type_.value_type))
    if pa.types.is_struct(type_):
        fields = (type_.field(index) for index in range(type_.num_fields))
        return pa.struct([(field.name, _replace_null(field.type)) for field in fields])
    return type_


def _iterate_groups(spool: RowSpool) -> Iterator[list[Row]]:
    rows: list[Row] = []
    size = 0
    for row, length in spool.iterate_sized():
        rows.append(row)
        size += length
        if len(rows) >= _GROUP_ROWS or size >= _GROUP_BYTES:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows
