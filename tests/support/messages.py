"""Messages to a model."""

from __future__ import annotations

from typing import Any


def say(text: str) -> list[dict[str, Any]]:
    """One message of the user."""
    return [{"role": "user", "content": text}]
