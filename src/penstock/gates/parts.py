"""Parts by their paths: reading one, and putting remade ones in the place of those that were wrong.

A part is a key (``answer``, ``data.py``) or a path into nested values (``generated.answer``, ``items.0``). A
key that has dots in it is found before a path that merely looks like it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from penstock.field_paths import ABSENT, Keys, find_keys, find_value

__all__ = [
    "ABSENT",
    "Keys",
    "find_keys",
    "find_part",
    "is_beneath",
    "merge_parts",
    "merge_samples",
    "resolve_part",
]

find_part = find_value
"""The value of a part, or ``ABSENT``; a part is named by its path."""


def resolve_part(path: str, *containers: Any) -> Keys:
    """The keys of ``path`` in the first of ``containers`` that has it; else the path cut at its dots."""
    for container in containers:
        keys = find_keys(container, path)
        if keys is not None:
            return keys
    return tuple(path.split("."))


def is_beneath(keys: Keys, others: Iterable[Keys]) -> bool:
    """Whether one of ``others`` covers ``keys`` as a part of itself."""
    return any(len(other) < len(keys) and keys[: len(other)] == other for other in others)


def merge_parts(old: Mapping[str, Any], new: Mapping[str, Any], named: Iterable[str]) -> dict[str, Any]:
    """``old`` with the ``named`` parts, and nothing else, taken from ``new``; neither is changed.

    What ``new`` lacks altogether stays as it was; what is missing inside a value that it does have is gone,
    for so it was remade.
    """
    merged = dict(old)
    paths = {resolve_part(path, old, new) for path in named}
    for keys in sorted(paths, key=len):
        if not is_beneath(keys, paths):
            _graft(merged, new, keys)
    return merged


def merge_samples(
    old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]], named: Sequence[str]
) -> Sequence[Mapping[str, Any]]:
    """Samples of which only the ``named`` parts are new; simply the new ones when they do not pair up."""
    if len(old) != len(new):
        return new
    return [merge_parts(before, after, named) for before, after in zip(old, new, strict=True)]


def _graft(target: dict[str, Any], source: Mapping[str, Any], keys: Keys) -> None:
    """Put what ``source`` has at ``keys`` into ``target``, copying each level of ``target`` on the way."""
    here: Any = target
    there: Any = source
    for depth, key in enumerate(keys[:-1]):
        if not _has(there, key):
            return
        there = there[key]
        inner = here[key] if _has(here, key) else None
        if isinstance(inner, Mapping):
            if not isinstance(there, Mapping):
                return
            copy: Any = dict(inner)
        elif isinstance(inner, list | tuple) and isinstance(keys[depth + 1], int):
            copy = list(inner)
        else:  # there was nothing that a part could be put into, so the remade whole is all there is
            _put(here, key, there)
            return
        _put(here, key, copy)
        here = copy
    last = keys[-1]
    if _has(there, last):
        _put(here, last, there[last])
    elif len(keys) > 1 and isinstance(here, dict):
        here.pop(last, None)


def _has(container: Any, key: str | int) -> bool:
    if isinstance(container, Mapping):
        return key in container
    return isinstance(container, list | tuple) and isinstance(key, int) and key < len(container)


def _put(container: Any, key: str | int, value: Any) -> None:
    if isinstance(container, dict) or (isinstance(key, int) and key < len(container)):
        container[key] = value
