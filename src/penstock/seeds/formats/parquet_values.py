"""Values of Parquet columns in the types of JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Any
from uuid import UUID

from penstock.seeds.formats.json_text import to_exact_float, to_exact_number

_UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
"""How many there are in a second."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FAR_DATE = "holds a date outside of the years 1 to 9999. Write it as text."


class UnsupportedValueError(Exception):
    """A value that a seed cannot hold; the message goes on from "the column 'x' "."""


def iterate_values(column: Any) -> Iterator[Any]:
    """The values of an Arrow array; an UnsupportedValueError in place of each that a seed cannot hold.

    Times are in ISO form with all their digits, decimals numbers (text where a number would lose digits),
    durations seconds, bytes their text, NaN null.
    """
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        yield from _iterate_dictionary(column)
        return
    values = None
    if not _has_nanoseconds(column.type):
        try:
            values = column.to_pylist(maps_as_pydicts="strict")
        except (pa.ArrowException, ValueError, KeyError, OverflowError):
            values = None  # one value is enough; find out which
    convert: Callable[[Any], Any] = to_json_value if values is not None else _convert_scalar
    for value in column if values is None else values:
        try:
            yield convert(value)
        except UnsupportedValueError as error:
            yield error
        except OverflowError:
            yield UnsupportedValueError(_FAR_DATE)
        except (pa.ArrowException, ValueError, KeyError) as error:
            yield UnsupportedValueError(f"cannot be read: {error}.")


def is_plain(type_: Any) -> bool:
    """Whether a seed can hold every value of the type."""
    import pyarrow as pa

    return any(check(type_) for check in (pa.types.is_integer, pa.types.is_boolean, pa.types.is_null))


def count_values(column: Any) -> int:
    """How many values an Arrow array has, those inside of its lists, maps and structs included."""
    import pyarrow as pa

    types = pa.types
    count = len(column)
    if not count:
        return 0
    if types.is_struct(column.type):
        return count + sum(map(count_values, column.flatten()))
    if types.is_map(column.type):
        first, last = column.offsets[0].as_py(), column.offsets[-1].as_py()
        parts = (column.keys, column.items)
        return count + sum(count_values(part.slice(first, last - first)) for part in parts)
    return count + count_values(column.flatten()) if types.is_nested(column.type) else count


def _iterate_dictionary(column: Any) -> Iterator[Any]:
    """The values of an Arrow dictionary array; each is converted once, however often it occurs."""
    converted: dict[int, Any] = {}
    for index in column.indices.to_pylist():
        if index is None:
            yield None
            continue
        if index not in converted:
            [converted[index]] = iterate_values(column.dictionary.slice(index, 1))
        yield converted[index]


def to_json_value(value: Any) -> Any:
    """A Python value in the types of JSON; raises UnsupportedValueError."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, dict):
        return {str(key): to_json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json_value(item) for item in value]
    for types, convert in _CONVERTERS:
        if isinstance(value, types):
            return convert(value)
    raise UnsupportedValueError(f"holds a {type(value).__name__}, which a seed cannot hold.")


def _has_nanoseconds(type_: Any) -> bool:
    """Whether the type, or one inside of it, has nanoseconds, which Python's own types of time have not."""
    if getattr(type_, "unit", None) == "ns":
        return True
    inner = [type_.field(index).type for index in range(type_.num_fields)]
    storage = getattr(type_, "value_type", None) or getattr(type_, "storage_type", None)
    return any(map(_has_nanoseconds, inner if storage is None else [*inner, storage]))


def _convert_scalar(scalar: Any) -> Any:
    """An Arrow scalar in the types of JSON, through as few of Python's own types as possible."""
    import pyarrow as pa

    types = pa.types
    converters: tuple[tuple[Callable[[Any], bool], Callable[[Any], Any]], ...] = (
        (types.is_timestamp, _format_timestamp),
        (types.is_time, _format_time),
        (types.is_duration, lambda span: to_exact_float(Decimal(span.value) / _UNITS[span.type.unit])),
        (types.is_map, _convert_map),
        (types.is_struct, lambda struct: {name: _convert_scalar(item) for name, item in struct.items()}),
        (types.is_nested, lambda items: [_convert_scalar(item) for item in items.values]),
        (types.is_dictionary, lambda entry: _convert_scalar(entry.value)),
    )
    if not scalar.is_valid:
        return None
    for has_type, convert in converters:
        if has_type(scalar.type):
            return convert(scalar)
    return to_json_value(scalar.as_py())


def _convert_map(scalar: Any) -> dict[str, Any]:
    converted: dict[str, Any] = {}
    for entry in scalar.values:
        key = str(_convert_scalar(entry[0]))
        if key in converted:
            raise UnsupportedValueError(f"holds the key {key!r} twice.")
        converted[key] = _convert_scalar(entry[1])
    return converted


def _format_timestamp(scalar: Any) -> str:
    seconds, nanoseconds = _split_seconds(scalar)
    zone = scalar.type.tz
    moment = _EPOCH + timedelta(seconds=seconds)
    moment = moment.astimezone(_find_zone(zone)) if zone else moment.replace(tzinfo=None)
    microseconds, rest = divmod(nanoseconds, 1_000)
    text = moment.replace(microsecond=microseconds).isoformat(timespec="microseconds" if rest else "auto")
    end = len("0001-01-01T00:00:00.000000")
    return f"{text[:end]}{rest:03d}{text[end:]}" if rest else text


def _format_time(scalar: Any) -> str:
    seconds, nanoseconds = _split_seconds(scalar)
    microseconds, rest = divmod(nanoseconds, 1_000)
    clock = (_EPOCH + timedelta(seconds=seconds)).time().replace(microsecond=microseconds)
    text = clock.isoformat(timespec="microseconds" if rest else "auto")
    return f"{text}{rest:03d}" if rest else text


def _split_seconds(scalar: Any) -> tuple[int, int]:
    """Whole seconds, and the nanoseconds beyond them."""
    per_second = _UNITS[scalar.type.unit]
    seconds, rest = divmod(scalar.value, per_second)
    return seconds, rest * (_UNITS["ns"] // per_second)


def _find_zone(name: str) -> tzinfo:
    import pyarrow as pa

    try:
        zone: tzinfo = pa.lib.string_to_tzinfo(name)
    except (ValueError, KeyError, OSError):  # this machine does not know it; the moment is the same in UTC
        return UTC
    return zone


def _check_finite(value: float) -> float | None:
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return None
    raise UnsupportedValueError(f"holds {value}, which JSON has no number for. Use null instead.")


def _count_seconds(value: timedelta) -> float | str:
    return to_exact_float(value.days * 86_400 + value.seconds + Decimal(value.microseconds) / 1_000_000)


def _decode(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise UnsupportedValueError("holds binary data. Leave that column out.") from error


_CONVERTERS: tuple[tuple[type | tuple[type, ...], Callable[[Any], Any]], ...] = (
    (float, _check_finite),
    (Decimal, to_exact_number),
    ((datetime, date, time), lambda value: value.isoformat()),
    (timedelta, _count_seconds),
    (UUID, str),
    (bytes, _decode),
)
