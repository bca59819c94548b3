"""Wording that the messages of all issues share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from penstock.serialization import to_json

_LISTED = 12
"""The most names that a message lists."""


def suggest(name: str, known: Iterable[str], otherwise: str) -> str:
    """The known name that ``name`` resembles, as a question; else ``otherwise`` and the known names."""
    known = [each for each in known if each]
    folded = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), folded, 1, 0.6)
    if close and folded[close[0]] != name:
        return f"Did you mean '{folded[close[0]]}'?"
    return f"{otherwise} {list_names(known)}."


def list_names(names: Sequence[str]) -> str:
    """Names with commas between them, the first few of many."""
    if not names:
        return "none"
    shown = ", ".join(str(name) for name in names[:_LISTED])
    return f"{shown} and {len(names) - _LISTED} more" if len(names) > _LISTED else shown


def quote(value: Any) -> str:
    """A value as the pipeline file may have it, shortened."""
    text = f"'{value}'" if isinstance(value, str) else to_json(value).strip()
    return text if len(text) <= 60 else text[:57] + "…"


def first_line(text: str) -> str:
    """A text from elsewhere as part of a sentence: on one line, shortened, without its full stop."""
    line = " ".join(text.split())
    return (line if len(line) <= 200 else line[:197] + "…").rstrip(".")


def sentence(text: str) -> str:
    """A text from elsewhere as a sentence of its own."""
    text = first_line(text)
    if text.partition(" ")[0].isalpha():  # the name of a setting keeps its case
        text = text[:1].upper() + text[1:]
    return text if text.endswith(("?", "!", "…")) else f"{text}."
