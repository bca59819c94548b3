"""Parts by their paths: reading one, and replacing those that were generated again.

A part is a key (``answer``, ``data.py``) or a path into nested values (``generated.answer``, ``items.0``). A
key that contains dots is found before a path that merely looks like it.
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
    """The keys of ``path`` in the first of ``containers`` that has it; else the path, split at its dots."""
    for container in containers:
        keys = find_keys(container, path)
        if keys is not None:
            return keys
    return tuple(path.split("."))


def is_beneath(keys: Keys, others: Iterable[Keys]) -> bool:
    """Whether ``keys`` lead into the value of one of ``others``."""
    return any(len(other) < len(keys) and keys[: len(other)] == other for other in others)


def merge_parts(old: Mapping[str, Any], new: Mapping[str, Any], named: Iterable[str]) -> dict[str, Any]:
    """``old`` with the ``named`` parts, and nothing else, taken from ``new``; neither is changed.

    A top-level part that ``new`` does not have stays as it was. A field that is missing inside a value that
    ``new`` does have is removed, because the new value was generated without it.
    """
    merged = dict(old)
    paths = {resolve_part(path, old, new) for path in named}
    for keys in sorted(paths, key=len):
        if not is_beneath(keys, paths):
            _replace(merged, new, keys)
    return merged


def merge_samples(
    old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]], named: Sequence[str]
) -> Sequence[Mapping[str, Any]]:
    """Each old sample with the ``named`` parts of the new one; the new samples when the numbers differ."""
    if len(old) != len(new):
        return new
    return [merge_parts(before, after, named) for before, after in zip(old, new, strict=True)]


def _replace(target: dict[str, Any], source: Mapping[str, Any], keys: Keys) -> None:
    """Put the value of ``source`` at ``keys`` into ``target``, with a copy of each level on the way."""
    inner_target: Any = target
    inner_source: Any = source
    for depth, key in enumerate(keys[:-1]):
        if not _has(inner_source, key):
            return
        inner_source = inner_source[key]
        old = inner_target[key] if _has(inner_target, key) else None
        if isinstance(old, Mapping):
            if not isinstance(inner_source, Mapping):
                return
            copy: Any = dict(old)
        elif isinstance(old, list | tuple) and isinstance(keys[depth + 1], int):
            copy = list(old)
        else:  # the old value cannot hold the part, so the new value replaces it
            _put(inner_target, key, inner_source)
            return
        _put(inner_target, key, copy)
        inner_target = copy
    last = keys[-1]
    if _has(inner_source, last):
        _put(inner_target, last, inner_source[last])
    elif len(keys) > 1 and isinstance(inner_target, dict):
        inner_target.pop(last, None)


def _has(container: Any, key: str | int) -> bool:
    if isinstance(container, Mapping):
        return key in container
    return isinstance(container, list | tuple) and isinstance(key, int) and key < len(container)


def _put(container: Any, key: str | int, value: Any) -> None:
    if isinstance(container, dict) or (isinstance(key, int) and key < len(container)):
        container[key] = value
