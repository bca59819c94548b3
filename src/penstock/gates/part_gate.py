"""What most gates have in common: one part to look at, and whom to blame for it."""

from __future__ import annotations

from typing import Any, ClassVar

import orjson

from penstock.entities import Finding, Parts, Verdict
from penstock.errors import DefinitionError
from penstock.gates.base import BaseGate
from penstock.gates.parts import ABSENT, find_part

_MAX_MESSAGE = 300
_MAX_SHOWN = 120


class BasePartGate(BaseGate):
    """A gate that looks at one part of the output.

    ``part=None`` is the step's first output. ``blame`` names the parts to make again instead of the one that
    was looked at: an answer that cannot stand may be the question's fault.
    """

    _part_references: ClassVar[list[str]] = ["part", "blame"]
    _config_descriptions: ClassVar[dict[str, str]] = {
        "part": "Part to look at, such as assistant or generated.answer; empty for the step's first output.",
        "blame": "Parts to make again when this one is wrong; empty for the part itself.",
    }

    def __init__(self, part: str | None = None, blame: str | list[str] | None = None) -> None:
        self.part = part or None
        self.blame = [blame] if isinstance(blame, str) and blame else list(blame or ())
        self._first_output: str | None = None

    def bind(self, first_output: str | None) -> None:
        """Take ``first_output`` for the part when none was named."""
        self._first_output = first_output

    def part_name(self, parts: Parts) -> str:
        """The part that is looked at; of an output without a declared order, its first key."""
        return self.part or self._first_output or next(iter(parts), "")

    def value(self, parts: Parts) -> Any:
        """The value of the part that is looked at, or ``ABSENT``."""
        return find_part(parts, self.part_name(parts))

    def faults(
        self,
        parts: Parts,
        message: str,
        *,
        part: str | None = None,
        expected: object = None,
        got: object = None,
    ) -> list[Finding]:
        """A finding for each part that is to be made again; ``part`` is narrower than the one looked at."""
        message = shorten(message, _MAX_MESSAGE)
        blamed = self.blame or [part or self.part_name(parts)]
        return [
            Finding(
                name,
                message,
                expected=None if expected is None else show(expected),
                got=None if got is None else show(got),
            )
            for name in blamed
        ]

    def fault(self, parts: Parts, message: str, *, expected: object = None, got: object = None) -> Verdict:
        """The verdict that the part is wrong."""
        return self.verdict(*self.faults(parts, message, expected=expected, got=got))

    def refuse(self, key: str, instead: str) -> DefinitionError:
        """The error of a setting that cannot be."""
        kind = type(self).__name__
        return DefinitionError(f"Gate '{kind}': {key} {instead}", detail={"type": kind, "key": key})

    def label(self, parts: Parts) -> str:
        """The part as a message calls it: its last name."""
        return shorten(self.part_name(parts).rpartition(".")[2], 60) or "the output"


class BaseTextGate(BasePartGate):
    """A gate that looks at one part which is to be text."""

    def look(self, parts: Parts) -> Verdict:
        """The verdict on the text; what is missing, or no text, is a fault of its own."""
        value = self.value(parts)
        if isinstance(value, str):
            return self.look_at_text(value, parts)
        return self.fault(parts, f"{self.label(parts)} {say_what(value)}", expected="text")

    def look_at_text(self, text: str, parts: Parts) -> Verdict:
        """The verdict on ``text``."""
        raise NotImplementedError


def say_what(value: Any) -> str:
    """What a value is that is not text: ``is missing``, ``is a list, not text``."""
    if value is ABSENT:
        return "is missing"
    if value is None:
        return "is null, not text"
    if isinstance(value, bool):
        return "is true or false, not text"
    if isinstance(value, int | float):
        return "is a number, not text"
    if isinstance(value, dict):
        return "is an object, not text"
    return "is a list, not text" if isinstance(value, list | tuple) else "is not text"


def is_unread_answer(value: Any) -> bool:
    """Whether a block found no JSON in a model's answer and kept its text."""
    return isinstance(value, dict) and len(value) == 1 and "raw_response" in value


def shorten(text: str, limit: int) -> str:
    """``text`` in one line of at most ``limit`` characters."""
    line = " ".join(text[: limit * 4].split())
    return line if len(line) <= limit and len(text) <= limit * 4 else line[: limit - 1] + "…"


def show(value: object) -> str:
    """A value in one short line, as JSON where it is not text."""
    if isinstance(value, str):
        return shorten(value, _MAX_SHOWN)
    try:
        text = orjson.dumps(value, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # integers beyond 64 bits, lone surrogates
        text = repr(value)
    return shorten(text, _MAX_SHOWN)
