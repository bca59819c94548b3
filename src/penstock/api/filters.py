"""Filters, order and cursors of records: the same for lists, counts, bulk changes and exports."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime
from typing import Annotated, Any, Final

import orjson
from fastapi import Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from penstock.api.numbers import JsonNumber
from penstock.entities import RecordStatus
from penstock.errors import BadInputError
from penstock.storage.filters import FieldFilter, Order, RecordFilter
from penstock.storage.records import Position
from penstock.storage.tables import to_iso8601

MAX_TEXT: Final = 1000

_Id = Annotated[int, Field(ge=-(2**63), lt=2**63)]
_Text = Annotated[str, Field(max_length=MAX_TEXT)]
_Number = Annotated[float, Field(allow_inf_nan=False)]

StatusQuery = Annotated[
    list[RecordStatus],
    Query(description="`pending`, `accepted`, `rejected`, `edited` or `failed`; several: any of them."),
]
FieldQuery = Annotated[
    _Text | SkipJsonSchema[None],
    Query(description="A field of the last state, or else of the metadata: `score`, `generated.title`."),
]
EqualsQuery = Annotated[
    _Text | SkipJsonSchema[None],
    Query(
        description="The value of `field`: a number, `true` or `false` as in JSON, anything else is text "
        '(the text 5 is `"5"`).'
    ),
]


async def read_field_filter(
    field: FieldQuery = None,
    equals: EqualsQuery = None,
    min: Annotated[  # noqa: A002  the name of the parameter
        _Number | SkipJsonSchema[None], Query(description="The smallest value of `field`.")
    ] = None,
    max: Annotated[  # noqa: A002  the name of the parameter
        _Number | SkipJsonSchema[None], Query(description="The largest value of `field`.")
    ] = None,
) -> tuple[FieldFilter, ...]:
    """The condition on a field in a request's query, if there is one."""
    return _read_field(field, None if equals is None else _read_value(equals), min, max)


async def read_filter(
    fields: Annotated[tuple[FieldFilter, ...], Depends(read_field_filter)],
    status: StatusQuery = [],  # noqa: B006  FastAPI makes a new one each time
    job_id: Annotated[_Id | SkipJsonSchema[None], Query()] = None,
    pipeline_id: Annotated[_Id | SkipJsonSchema[None], Query()] = None,
    text: Annotated[
        _Text | SkipJsonSchema[None],
        Query(description="Part of the output or the metadata, in upper or lower case."),
    ] = None,
    cause: Annotated[
        _Text | SkipJsonSchema[None], Query(description="Why it failed, from `GET /api/jobs/{id}/failures`.")
    ] = None,
) -> RecordFilter:
    """The filter in a request's query; a record must match all that is given."""
    return RecordFilter(
        statuses=tuple(status),
        job_id=job_id,
        pipeline_id=pipeline_id,
        text=text,
        cause=cause,
        fields=fields,
    )


FilterDep = Annotated[RecordFilter, Depends(read_filter)]


class FilterBody(BaseModel):
    """A filter of records: a record must match all that is given; an empty filter matches all."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"job_id": 7, "status": ["pending"], "field": "score", "min": 0.8}]},
    )

    status: Annotated[list[RecordStatus], Field(max_length=len(RecordStatus))] = Field(
        default_factory=list, description="Any of these. Failed records match only when they are named."
    )
    job_id: JsonNumber[_Id] | None = None
    pipeline_id: JsonNumber[_Id] | None = None
    ids: Annotated[list[JsonNumber[_Id]], Field(max_length=10_000)] | None = Field(
        default=None, description="Only these records."
    )
    text: _Text | None = Field(default=None, description="Part of the output or the metadata.")
    cause: _Text | None = None
    field: _Text | None = Field(default=None, description="A field of the last state, or else the metadata.")
    equals: _Text | bool | JsonNumber[_Number] | None = Field(
        default=None, description="The value of the field."
    )
    min: JsonNumber[_Number] | None = None
    max: JsonNumber[_Number] | None = None

    def to_filter(self) -> RecordFilter:
        """The filter; raises BadInputError."""
        reviewed = tuple(status for status in RecordStatus if status is not RecordStatus.FAILED)
        return RecordFilter(
            statuses=tuple(self.status) or reviewed,
            job_id=self.job_id,
            pipeline_id=self.pipeline_id,
            ids=None if self.ids is None else tuple(self.ids),
            text=self.text,
            cause=self.cause,
            fields=_read_field(self.field, self.equals, self.min, self.max),
        )


def _read_field(
    name: str | None, equals: str | float | bool | None, minimum: float | None, maximum: float | None
) -> tuple[FieldFilter, ...]:
    asked = not (equals is None and minimum is None and maximum is None)
    if not name and asked:
        raise BadInputError("'equals', 'min' and 'max' need a field: add field=score, for example.")
    return (FieldFilter(name, equals, minimum, maximum),) if name and asked else ()


def _read_value(text: str) -> str | float | bool:
    """The value of ``equals``: a number, a boolean or a text in quotes as JSON, else the text as it is."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return value if isinstance(value, str | int | float) else text


def read_order(sort: str) -> Order:
    """The order for ``sort``: ``-score`` is by the field score, the largest first; ``id`` is the column."""
    name = sort.removeprefix("-")
    if not name:
        raise BadInputError(
            "sort needs id, created_at, updated_at or a field; a - before it puts the largest first."
        )
    key = "id" if name == "created_at" else name
    return Order(key, sort.startswith("-"), is_field=key not in {"id", "updated_at"})


def write_cursor(order: Order, end: Position) -> str:
    """The end of a page as a text, which the next request sends back."""
    value = to_iso8601(end.value) if isinstance(end.value, datetime) else end.value
    return base64.urlsafe_b64encode(orjson.dumps([*order, value, end.record_id])).decode().rstrip("=")


def read_cursor(text: str, order: Order) -> Position:
    """The position in a cursor of ``write_cursor``; raises BadInputError when it belongs to another order."""
    try:
        values: Any = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        *written_order, value, record_id = values
        if written_order != list(order) or type(record_id) is not int or not -(2**63) <= record_id < 2**63:
            raise ValueError
        if value is not None:
            value = float(value) if order.is_field else datetime.fromisoformat(value)
    except (ValueError, TypeError, binascii.Error, json.JSONDecodeError) as error:
        raise BadInputError(
            "The cursor does not belong to this list; take it from X-Next-Cursor, with the same sort.",
            detail={"cursor": text},
        ) from error
    return Position(record_id, value)
