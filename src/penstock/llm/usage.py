"""What a call gave and cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from penstock.entities import Usage


@dataclass(frozen=True, slots=True)
class Completion:
    """A model's answer.

    ``data`` is the parsed JSON when a schema was asked for and the text could be read as JSON, else None;
    ``text`` is always the model's own. ``finish_reason`` is the provider's: ``stop``, ``length``,
    ``content_filter``, …
    """

    text: str
    usage: Usage
    model: str
    finish_reason: str = "stop"
    data: Any = None
