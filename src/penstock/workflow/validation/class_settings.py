"""The settings that the class of a block or gate takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.discovery import extract_config_schema
from penstock.user_code import to_exception


def properties(cls: type[Any]) -> Mapping[str, Any]:
    """The settings of a block or gate, as JSON Schema by name."""
    try:
        found: Mapping[str, Any] = extract_config_schema(cls)["properties"]
    except BaseException as error:  # a mistake in a user's class, which the registry lists among its errors
        to_exception(error)
        return {}
    return found


def with_defaults(cls: type[Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """``config`` with the defaults of the settings that it leaves out."""
    defaults = {name: part["default"] for name, part in properties(cls).items() if "default" in part}
    return {**defaults, **config}


def names(value: Any) -> list[str]:
    """The names in a setting that holds one or several."""
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, list | tuple):
        return [name for name in value if isinstance(name, str) and name]
    return []
