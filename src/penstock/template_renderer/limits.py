"""Limits on what a template may make and on the work that it may take.

A rendering has a budget of work, a clock and a largest size of text. Each loop, call, filter and operator
that could make something large is measured first and refused before it runs; the clock is looked at in
between. There are two budgets: a small one for renderings in the event loop, and a large one for the child
process, which makes again what needs more. Rendering never waits, so one account a thread is enough.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sized
from itertools import islice
from typing import Any, NamedTuple

from jinja2.utils import Namespace

CALL_COST = 20
"""Units of work of a call, besides those for its arguments."""
MAX_BITS = 20_000
"""Of an integer."""
_LOOK = 2_000
"""Units of work after which the clock is looked at."""
_CONTAINERS = (dict, list, tuple, Mapping, set, frozenset)
_SCALARS = frozenset({int, float, bool, type(None)})
_FEW_TURNS = 100
"""Turns of a loop that are paid for at once."""


class Budget(NamedTuple):
    """What one rendering may take."""

    work: int
    """Units: an iteration of a loop, half an element that is measured, 16 characters."""
    seconds: float
    """Of processor time; a busy machine does not make a difference."""
    text: int
    """Characters of the result, or of any value made on the way."""


LARGE = Budget(5_000_000, 1.0, 4_000_000)
"""Of a rendering in the child process; who needs more is refused."""
SMALL = Budget(200_000, 0.015, 1_000_000)
"""Of a rendering in the event loop; what needs more continues in the child process."""


class LimitExceededError(Exception):
    """A template asks for more than it may have."""


class MoreWorkError(LimitExceededError):
    """A template asks for more than the small budget."""


class _Account(threading.local):
    """What the rendering of this thread has used, and may use."""

    budget = LARGE
    used = 0
    look_at = 0
    end = 0.0


_account = _Account()


def begin(budget: Budget) -> None:
    """Begin a rendering of this thread."""
    _account.budget = budget
    _account.used = 0
    _account.look_at = _LOOK
    _account.end = 0.0


def spend(units: int) -> None:
    """Take ``units`` of work from the budget; raises LimitExceededError when it is used up."""
    _account.used += units
    if _account.used >= _account.look_at:
        _look_at_clock()


def _look_at_clock() -> None:
    account = _account
    account.look_at = account.used + _LOOK
    if account.used > account.budget.work:
        _refuse("it asks for too much work")
    now = time.thread_time()
    if not account.end:  # most renderings end before the first look
        account.end = now + account.budget.seconds
    elif now > account.end:
        _refuse(f"it takes longer than {account.budget.seconds:g} seconds")


def _refuse(reason: str) -> None:
    raise MoreWorkError(reason) if _account.budget is SMALL else LimitExceededError(reason)


def allow_text(size: int) -> None:
    """Pay for a text of ``size`` characters that is about to be made; raises LimitExceededError."""
    if size > LARGE.text:
        raise LimitExceededError(f"it makes something larger than {LARGE.text} characters")
    if size > _account.budget.text:
        _refuse("it makes a large text")
    spend(1 + (size >> 4))


def measure(value: Any) -> int:
    """About how many characters ``value`` would print as; raises LimitExceededError when too many."""
    kind = type(value)
    if kind is str:
        allow_text(len(value))
        return len(value)
    if kind in _SCALARS:
        spend(2)
        return _measure_item(value) if kind is int else 8
    size, waiting = 0, [value]
    while waiting and size <= LARGE.text:
        item = waiting.pop()
        size += _measure_item(item)
        if isinstance(item, _CONTAINERS) and size <= LARGE.text:
            waiting.extend(item)
            if isinstance(item, Mapping):
                waiting.extend(item.values())
        spend(2)
    allow_text(size)
    return size


def _measure_item(item: Any) -> int:
    """The characters of a value without those of what it contains."""
    if isinstance(item, (str, bytes)):
        return len(item) + 2
    if isinstance(item, int):
        return item.bit_length() // 3 + 1
    if isinstance(item, _CONTAINERS):
        return 2 * len(item) + 2
    if isinstance(item, Namespace):
        raise LimitExceededError("a namespace cannot be printed; print one of its attributes")
    if isinstance(item, range):
        spend(2 * len(item))
        return 8 * len(item)
    return 8


def measure_indented(value: Any, indent: int) -> int:
    """About how many characters ``value`` has as JSON with ``indent`` spaces a level; pays for making it."""
    size = measure(value)
    waiting = [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        if not isinstance(item, _CONTAINERS):
            continue
        size += (len(item) + 1) * (depth * indent + 1)
        spend(10 * len(item))  # with an indent, the JSON is written in Python
        if size > LARGE.text:
            break
        inner = item.values() if isinstance(item, Mapping) else item
        waiting.extend((each, depth + 1) for each in inner)
    allow_text(size)
    return size


def measured(value: Any) -> Any:
    """``value``, once it has been measured."""
    measure(value)
    return value


def check_result(value: Any) -> Any:
    """``value``, which an operation has made, unless it is too large."""
    if type(value) is str:
        allow_text(len(value))
    elif isinstance(value, int):
        if value.bit_length() > MAX_BITS:
            raise LimitExceededError("it makes a number that is too large")
    elif isinstance(value, (str, bytes)):
        allow_text(len(value))
    elif isinstance(value, _CONTAINERS):
        spend(len(value))
    return value


def join(parts: Iterable[str]) -> str:
    """``"".join``, which stops as soon as the text grows too long."""
    texts: list[str] = []
    size = 0
    for part in parts:
        size += len(part)
        if size > LARGE.text:
            break
        texts.append(part)
    allow_text(size)
    return "".join(texts)


class _Turns:
    """What a loop goes over: its turns are paid for as they come, and its length is known."""

    __slots__ = ("_values",)

    def __init__(self, values: Any) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[Any]:
        values = iter(self._values)
        while some := tuple(islice(values, _FEW_TURNS)):
            spend(len(some))
            yield from some


def count_iterations(values: Any) -> Any:
    """What a loop goes over, each iteration paid for."""
    if not isinstance(values, Sized):
        return count_each(values)
    turns = len(values)
    if turns <= _FEW_TURNS or _account.used + turns > _account.budget.work:
        spend(turns)
        return values
    return _Turns(values)


def count_each(values: Iterable[Any]) -> Iterator[Any]:
    """The items of an iterable, each paid for when it is taken."""
    for value in values:
        spend(1)
        yield value
