"""How a value appears in a prompt: as text or JSON, and never as Python writes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, KeysView, Mapping, Set, ValuesView
from typing import Any

from jinja2 import Undefined
from jinja2.utils import Namespace

from penstock.serialization import to_text
from penstock.template_renderer.limits import count_each, join, measure

_SEQUENCES = (Iterator, range, Set, KeysView, ValuesView)


def to_printed(value: Any) -> str:
    """``value`` as a prompt shows it: None as nothing, true and false in lower case, the rest as JSON.

    Raises TypeError for what is no value, such as a function.
    """
    if isinstance(value, (str, Undefined)):
        return str(value)
    if value is None:
        return ""
    if not isinstance(value, Namespace) and _is_no_value(value):
        raise TypeError(f"{_describe(value)} is not a value that a prompt can show")
    if isinstance(value, _SEQUENCES) and not isinstance(value, Mapping):
        value = list(count_each(value))
    measure(value)
    return to_text(value)


def to_formatted(value: Any) -> Any:
    """``value`` as it is put into a text: numbers, which may be formatted, unchanged."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    return to_printed(value)


def join_texts(separator: Any, values: Iterable[Any]) -> str:
    """The texts of ``values`` with ``separator`` between them."""
    return str(separator).join(map(to_printed, values))


def concatenate(values: tuple[Any, ...]) -> str:
    """The texts of ``values`` joined, each measured before it is made."""
    for value in values:
        measure(value)
    return join(map(to_printed, values))


def _is_no_value(value: Any) -> bool:
    return callable(value) or type(value).__module__.partition(".")[0] == "jinja2"


def _describe(value: Any) -> str:
    name = getattr(value, "__name__", None) or getattr(value, "name", None)
    return f"'{name}', a function," if isinstance(name, str) else f"a {type(value).__name__}"
