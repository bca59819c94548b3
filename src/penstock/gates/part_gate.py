"""What most gates have in common: one part to look at, and whom to blame for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import orjson

from penstock.entities import Finding, Parts, Verdict
from penstock.errors import DefinitionError, GateError
from penstock.gates.base import BaseGate
from penstock.gates.parts import ABSENT, find_part
from penstock.gates.text_matching import to_json

NOT_JSON = "the answer is not JSON"
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

    part: str | None = None
    blame: Sequence[str] = ()
    _first_output: str | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        told: dict[str, str] = {}
        for each in reversed(cls.__mro__):  # a subclass describes what it adds
            told.update(vars(each).get("_config_descriptions", {}))
        cls._config_descriptions = told

    def __init__(self, part: str | None = None, blame: str | list[str] | None = None) -> None:
        self.part = part or None
        self.blame = [blame] if isinstance(blame, str) and blame else list(blame or ())

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
        top, nested, _ = self.part_name(parts).partition(".")
        if nested and value is ABSENT and is_unread_answer(parts.get(top)):
            return self.verdict(Finding(top, NOT_JSON))  # as the other gates on it will say
        return self.fault(parts, f"{self.label(parts)} {say_what(value)}", expected="text")

    def look_at_text(self, text: str, parts: Parts) -> Verdict:
        """The verdict on ``text``."""
        raise NotImplementedError


def read_json(text: str) -> Any:
    """The JSON of a text, one code fence around it aside; raises ValueError saying what is wrong."""
    try:
        return orjson.loads(strip_fence(text))
    except orjson.JSONDecodeError as error:
        raise ValueError(f"it cannot be read at line {error.lineno}, column {error.colno}") from error


def read_source(parts: Parts, source: str, gate: BaseGate) -> str:
    """The text that an output is held against; raises GateError when the state does not have it."""
    value = find_part(parts.state, source)
    if isinstance(value, str):
        return value
    if value is ABSENT or value is None:
        kind = type(gate).__name__
        raise GateError(
            f"The gate {kind} could not look: there is no field '{source}' to hold the output against",
            detail={"gate": kind, "field": source},
        )
    return to_json(value)


def strip_fence(text: str) -> str:
    """``text`` without the code fence that it is wrapped in."""
    body = text.strip()
    if not body.startswith("```"):
        return text
    _, newline, body = body.partition("\n")
    return body.rstrip().removesuffix("```") if newline else text


_KINDS = {
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    dict: "an object",
    list: "a list",
    tuple: "a list",
}


def say_what(value: Any, instead: str = "text") -> str:
    """What a value is that is not what it should be: ``is missing``, ``is a list, not text``."""
    if value is ABSENT:
        return "is missing"
    kind = _KINDS.get(type(value))
    return f"is {kind}, not {instead}" if kind else f"is not {instead}"


def is_unread_answer(value: Any) -> bool:
    """Whether a block found no JSON in a model's answer and kept its text."""
    return isinstance(value, dict) and len(value) == 1 and "raw_response" in value


def shorten(text: str, limit: int) -> str:
    """``text`` in one line of at most ``limit`` characters."""
    line = " ".join(text[: limit * 4].split())
    return line if len(line) <= limit and len(text) <= limit * 4 else line[: limit - 1] + "…"


def show(value: object) -> str:
    """A value in one short line, as JSON where it is not text."""
    return shorten(value if isinstance(value, str) else to_json(value), _MAX_SHOWN)
