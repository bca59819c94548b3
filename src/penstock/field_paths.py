"""Dotted paths into nested values (``generated.answer``, ``items.0``).

A key that contains dots is found before a path that merely looks like it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

Keys = tuple[str | int, ...]


class _Absent:
    """The type of ``ABSENT``."""

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False


ABSENT: Final = _Absent()
"""Stands for a value that does not exist, because None can be a value."""


def find_value(container: Any, path: str) -> Any:
    """The value at ``path``, or ``ABSENT`` when it does not exist."""
    if type(container) is dict and path in container:  # the usual case
        return container[path]
    keys = find_keys(container, path)
    if keys is None:
        return ABSENT
    for key in keys:
        container = container[key]
    return container


def find_keys(container: Any, path: str) -> Keys | None:
    """The keys that lead to ``path``, one for each level; None when it does not exist."""
    if not (type(container) is dict or isinstance(container, Mapping)):  # the first check is much faster
        return _find_in_list(container, path) if isinstance(container, (list, tuple)) else None
    if path in container:
        return (path,)
    dot = path.find(".")
    while dot >= 0:
        head = path[:dot]
        if head in container:
            rest = find_keys(container[head], path[dot + 1 :])
            if rest is not None:
                return (head, *rest)
        dot = path.find(".", dot + 1)
    return None


def _find_in_list(container: Sequence[Any], path: str) -> Keys | None:
    head, _, tail = path.partition(".")
    if not (head.isascii() and head.isdecimal() and len(head) < 10) or int(head) >= len(container):
        return None
    if not tail:
        return (int(head),)
    rest = find_keys(container[int(head)], tail)
    return None if rest is None else (int(head), *rest)
