"""Filters and orders of records, as SQL of SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    JSON,
    ColumnElement,
    Double,
    Numeric,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    or_,
    tuple_,
)

from penstock.entities import RecordStatus
from penstock.storage.tables import records
from penstock.storage.text_escapes import escape_text


class FieldFilter(NamedTuple):
    """What a field of the last state, or else of the metadata, must be; ``name`` may be a dotted path."""

    name: str
    equals: str | float | bool | None = None
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """Which records match; everything that is given must hold."""

    status: RecordStatus | None = None
    statuses: tuple[RecordStatus, ...] = ()
    """Any of these; empty for all."""
    job_id: int | None = None
    pipeline_id: int | None = None
    text: str | None = None
    """Part of the output or the metadata; upper and lower case are the same."""
    cause: str | None = None
    ids: tuple[int, ...] | None = None
    fields: tuple[FieldFilter, ...] = ()


class Order(NamedTuple):
    """How records are sorted: by a column, or by the number in a field of the last state or the metadata.

    Records without such a number come last in both directions. Equal values are sorted by id. Ids grow as
    records are made, so the order of ids is that of ``created_at``.
    """

    key: str = "id"
    """``id``, ``updated_at``, or with ``is_field`` the path of a field."""
    descending: bool = True
    is_field: bool = False


def sort_key(order: Order, *, postgres: bool) -> ColumnElement[Any] | None:
    """What the records are sorted by before their ids; None when they are sorted by id alone."""
    if not order.is_field:
        return None if order.key == "id" else records.c[order.key]
    field = FieldFilter(order.key)
    _, number = _find_in_postgres(field) if postgres else _find_in_sqlite(field)
    return cast(number, Double)


def beyond(order: Order, key: ColumnElement[Any] | None, value: Any, record_id: int) -> ColumnElement[bool]:
    """Condition for what comes after the record with this id and this value of the sort key."""
    own = records.c.id
    later: ColumnElement[bool] = own < record_id if order.descending else own > record_id
    if key is None:
        return later
    if value is None:
        return and_(key.is_(None), later)
    given = literal(value, key.type)
    further = key < given if order.descending else key > given
    return or_(further, and_(key == given, later), key.is_(None))


def conditions(matching: RecordFilter, *, postgres: bool) -> list[ColumnElement[bool]]:
    """The filter in SQL: conditions that must all hold."""
    table = records.c
    found: list[ColumnElement[bool]] = []
    if matching.status is not None:
        found.append(table.status == RecordStatus(matching.status).value)
    if matching.statuses:
        found.append(table.status.in_([RecordStatus(status).value for status in matching.statuses]))
    if matching.job_id is not None:
        found.append(table.job_id == matching.job_id)
    if matching.pipeline_id is not None:
        found.append(table.pipeline_id == matching.pipeline_id)
    if matching.cause is not None:
        found.append(table.cause == matching.cause)
    if matching.ids is not None:
        found.append(table.id.in_(matching.ids))
    if matching.text:
        found.append(_has_text(matching.text.replace("\0", ""), postgres=postgres))
    for field in matching.fields:
        found.extend(_in_postgres(field) if postgres else _in_sqlite(field))
    return found


def after(keys: Sequence[ColumnElement[Any]], last: Sequence[Any]) -> list[ColumnElement[bool]]:
    """Conditions for what comes after ``last`` in the order of ``keys``; the first is there for an index."""
    values = [literal(value, key.type) for key, value in zip(keys, last, strict=True)]
    if len(keys) == 1:
        return [keys[0] > values[0]]
    return [keys[0] >= values[0], tuple_(*keys) > tuple_(*values)]


def _has_text(sought: str, *, postgres: bool) -> ColumnElement[bool]:
    """SQLite's LIKE ignores case by itself."""
    texts = (records.c.output, records.c.metadata)
    if postgres:
        return or_(*(text.icontains(sought, autoescape=True) for text in texts))
    return or_(*(text.contains(sought, autoescape=True) for text in texts))


def _in_sqlite(field: FieldFilter) -> Iterator[ColumnElement[bool]]:
    value, number = _find_in_sqlite(field)
    return _compare(field, value, number, _write_boolean(field))


def _find_in_sqlite(field: FieldFilter) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """The field's value, and the same where it is a number."""
    path = "$" + "".join(f'."{_escape(name, index)}"' for index, name in enumerate(_names(field)))
    plain = "$" + "".join(f'."{name}"' for name in _names(field))
    value: ColumnElement[Any] = func.coalesce(
        func.json_extract(records.c.edits, plain),
        func.json_extract(records.c.state, path),
        func.json_extract(records.c.metadata, plain),
    )
    kind = func.coalesce(
        *(
            func.nullif(func.json_type(column, where), "null")
            for column, where in (
                (records.c.edits, plain),
                (records.c.state, path),
                (records.c.metadata, plain),
            )
        )
    )
    number = case((kind.in_(("integer", "real")), value))  # the value of a boolean is 1 or 0, too
    if isinstance(field.equals, bool):
        return kind, number
    if field.name == "pipeline_output":
        value = records.c.output
    return value, number


def _in_postgres(field: FieldFilter) -> Iterator[ColumnElement[bool]]:
    value, number = _find_in_postgres(field)
    return _compare(field, value, number, _write_boolean(field))


def _find_in_postgres(field: FieldFilter) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    names = _names(field)
    plain = cast(names, ARRAY(Text))
    path = cast([_escape(name, index) for index, name in enumerate(names)], ARRAY(Text))
    found: ColumnElement[Any] = func.coalesce(
        cast(records.c.edits, JSON).op("#>", return_type=JSON())(plain),
        cast(records.c.state, JSON).op("#>", return_type=JSON())(path),
        cast(records.c.metadata, JSON).op("#>", return_type=JSON())(plain),
    )
    value: ColumnElement[Any] = found.op("#>>", return_type=Text())(cast([], ARRAY(Text)))
    kind = func.json_typeof(found)
    number = case((kind == "number", cast(value, Numeric)))
    value = case((kind == ("boolean" if isinstance(field.equals, bool) else "string"), value))
    if field.name == "pipeline_output":
        value = records.c.output
    return value, number


def _compare(
    field: FieldFilter, value: ColumnElement[Any], number: ColumnElement[Any], boolean: str | None
) -> Iterator[ColumnElement[bool]]:
    """``boolean`` is how the database writes the boolean that ``field`` must equal."""
    if isinstance(field.equals, bool):
        yield value == boolean
    elif isinstance(field.equals, str):
        yield value == escape_text(field.equals)
    elif field.equals is not None:
        yield number == float(field.equals)
    if field.minimum is not None:
        yield number >= float(field.minimum)
    if field.maximum is not None:
        yield number <= float(field.maximum)


def _write_boolean(field: FieldFilter) -> str | None:
    return str(field.equals).lower() if isinstance(field.equals, bool) else None


def _names(field: FieldFilter) -> list[str]:
    return [name.replace('"', "").replace("\0", "") for name in field.name.split(".")]


def _escape(name: str, index: int) -> str:
    """A packed state stores names that begin with a dollar with one more."""
    return f"${name}" if index == 0 and name.startswith("$") else name
