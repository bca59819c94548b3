"""Numbers in the JSON of requests."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator


def _refuse_other_types(value: Any) -> Any:
    if isinstance(value, bool | str):
        raise ValueError("must be a number")
    return value


Number = TypeVar("Number")
JsonNumber = Annotated[Number, BeforeValidator(_refuse_other_types)]
"""A number as its schema declares it; without this, ``false`` and ``"1"`` would be read as numbers, too."""
