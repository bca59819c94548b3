"""What blocks return, as plain JSON values."""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections import OrderedDict, UserDict, defaultdict, deque, namedtuple
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from pydantic import BaseModel

from penstock.plain_values import MAX_DEPTH, NotPlainError, to_plain
from penstock.serialization import from_json, to_json


class Color(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Kind(StrEnum):
    FIRST = "first"


class Model(BaseModel):
    count: int = 1
    day: date = date(2020, 1, 2)


@dataclasses.dataclass
class Data:
    count: int = 1
    inner: Any = None


Pair = namedtuple("Pair", "first second")


class Text(str):
    """Text of a class that shows itself otherwise."""

    def __str__(self) -> str:
        raise ValueError


class OtherLibrary:
    """A value of a library that is not imported: it only says how it is read."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Series(OtherLibrary):
    def to_list(self) -> Any:
        return self.value


class Scalar(OtherLibrary):
    def as_py(self) -> Any:
        return self.value


class NotATime(datetime):
    """Like pandas' NaT: a datetime that is no time."""

    def __ne__(self, other: object) -> bool:
        return True


class Hostile(dict[str, Any]):
    def items(self) -> Any:
        raise SystemExit(3)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.int64(5), 5),
        (np.float64(1.5), 1.5),
        (np.float32(0.5), 0.5),
        (np.longdouble(1.5), 1.5),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array(7), 7),
        (np.datetime64("2020-01-02"), "2020-01-02"),
        (np.datetime64("2020-01-02T03:04:05.123456789", "ns"), "2020-01-02T03:04:05.123456"),
        (np.timedelta64(3, "s"), 3.0),
        (Decimal("1.10"), 1.1),
        (Decimal(100), 100),
        (Fraction(1, 2), 0.5),
        (date(2020, 1, 2), "2020-01-02"),
        (datetime(2020, 1, 2, tzinfo=UTC), "2020-01-02T00:00:00+00:00"),
        (time(1, 2), "01:02:00"),
        (timedelta(minutes=1), 60.0),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (PurePosixPath("a/b"), "a/b"),
        (Color.RED, "red"),
        (Level.HIGH, 3),
        (Kind.FIRST, "first"),
        (Model(), {"count": 1, "day": "2020-01-02"}),
        (Data(inner=(1, {2})), {"count": 1, "inner": [1, [2]]}),
        (Pair(1, 2), {"first": 1, "second": 2}),
        ((1, (2,)), [1, [2]]),
        ({"b", "a"}, ["a", "b"]),
        (frozenset({3, 1, 2}), [1, 2, 3]),
        (b"abc", "abc"),
        (bytearray(b"x"), "x"),
        (deque([1]), [1]),
        (range(3), [0, 1, 2]),
        ({"a": 1}.keys(), ["a"]),
        ({"a": 1}.values(), [1]),
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(int, a=1), {"a": 1}),
        (UserDict(a=1), {"a": 1}),
        (Text("abc"), "abc"),
        (Series([np.int64(1)]), [1]),
        (Scalar(date(2020, 1, 2)), "2020-01-02"),
        ({1: "a", 1.5: "b", None: "c"}, {"1": "a", "1.5": "b", "null": "c"}),
        ({True: "a"}, {"true": "a"}),
        ({date(2020, 1, 2): 1, np.int64(3): 2, Color.RED: 3}, {"2020-01-02": 1, "3": 2, "red": 3}),
        (10**30, 10**30),
        ("half a pair \ud83d", "half a pair \ud83d"),
        (nested(MAX_DEPTH - 10), nested(MAX_DEPTH - 10)),
    ],
    ids=lambda value: str(type(value).__name__),
)
def test_values_become_those_of_json(value: Any, plain: Any) -> None:
    made = to_plain({"o": value, "inside": [{"again": value}]})

    assert made == {"o": plain, "inside": [{"again": plain}]}
    assert from_json(to_json(made)) == made
    assert type(made["o"]) is type(plain)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (math.nan, "nan, which JSON cannot hold; return None or a number"),
        (math.inf, "inf, which JSON cannot hold"),
        (np.float64("nan"), "nan"),
        (np.datetime64("NaT"), "no time (NaT)"),
        (NotATime(2020, 1, 1), "no time (NaT)"),
        (Decimal("NaN"), "NaN, which JSON cannot hold"),
        (Decimal("1E+99999"), "1E+99999, which JSON cannot hold"),
        (10**5000, "more than 4,000 digits"),
        (1j, "complex"),
        (b"\xff", "bytes that are not UTF-8"),
        ({(1, 2): 3}, "a key that is a tuple; use text"),
        ({1: "a", "1": "b"}, "the key '1' twice"),
        (object(), "an object of the class object"),
        (ValueError("x"), "an object of the class ValueError"),
        (len, "a builtin_function_or_method"),
        (iter([1]), "gives its items only once; return a list"),
        (nested(MAX_DEPTH + 10), "nested deeper than 200 levels"),
        (nested(100_000), "nested deeper than 200 levels"),
        (["x"] * 10_000_000, "larger than 64 MB"),
        ("x" * 70_000_000, "larger than 64 MB"),
        (Hostile(a=1), "cannot be read: it raised SystemExit: 3"),
    ],
    ids=lambda value: str(type(value).__name__),
)
def test_what_has_no_form_in_json_is_refused_with_its_place(value: Any, reason: str) -> None:
    with pytest.raises(NotPlainError) as caught:
        to_plain({"fine": 1, "items": [0, {"o": value}]})

    assert reason in caught.value.reason
    assert caught.value.place.startswith("items[1].o")


def test_a_value_that_contains_itself_is_refused() -> None:
    circle: dict[str, Any] = {}
    circle["me"] = [circle]

    with pytest.raises(NotPlainError, match="or contains itself"):
        to_plain(circle)


def test_a_small_value_that_unfolds_to_a_huge_one_is_refused() -> None:
    value: list[Any] = ["x"] * 10
    for _ in range(30):
        value = [value] * 10

    with pytest.raises(NotPlainError, match="larger than 64 MB"):
        to_plain({"o": value})


async def test_what_was_not_awaited_is_refused() -> None:
    coroutine = asyncio.sleep(0)

    with pytest.raises(NotPlainError, match="coroutine that was not awaited; write 'await'"):
        to_plain({"o": coroutine})
    coroutine.close()


def test_a_generator_is_refused() -> None:
    def numbers() -> Iterator[int]:
        yield 1

    with pytest.raises(NotPlainError, match="generator, which gives its items only once"):
        to_plain({"o": numbers()})


def test_the_copy_shares_nothing_with_the_value() -> None:
    value: dict[str, Any] = {"o": [{"a": []}], "t": ({"b": 1},)}

    made = to_plain(value)
    value["o"][0]["a"].append(1)
    value["t"][0]["b"] = 2

    assert made == {"o": [{"a": []}], "t": [{"b": 1}]}
