"""What a model call returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from penstock.entities import Usage


@dataclass(frozen=True, slots=True)
class Completion:
    """A model's answer.

    ``text`` is always what the model wrote. ``data`` is the JSON value parsed from it when a schema was
    given, else None; also None when the text could not be read as JSON. ``usage`` counts tokens, US dollars
    and seconds since the epoch. ``finish_reason`` is the provider's: ``stop``, ``length``,
    ``content_filter``, …
    """

    text: str
    usage: Usage
    model: str
    finish_reason: str = "stop"
    data: Any = None
