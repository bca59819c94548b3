"""What most gates have in common: one part to check, and the parts to generate again when it is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from penstock.entities import Finding, Parts, Verdict
from penstock.errors import DefinitionError, GateError
from penstock.gates.base import BaseGate
from penstock.gates.json_answers import NOT_JSON, is_raw_response
from penstock.gates.messages import describe_type, shorten, show
from penstock.gates.parts import ABSENT, find_part
from penstock.gates.text_matching import as_text
from penstock.stoppable import wait_in_thread

_MAX_MESSAGE = 300
_MAX_LABEL = 60
_LONG_TEXT = 20_000
"""Characters that are looked at in the event loop."""


class BasePartGate(BaseGate):
    """A gate that checks one part of the output.

    ``part=None`` is the step's first output. ``blame`` names the parts to generate again instead of the
    checked one: when an answer is wrong, the question may be the cause.
    """

    part_references: ClassVar[list[str]] = ["part", "blame"]
    config_descriptions: ClassVar[dict[str, str]] = {
        "part": "Part to check, such as assistant or generated.answer; empty for the step's first output.",
        "blame": "Parts to generate again when this one is wrong; empty for the part itself.",
    }

    part: str | None = None
    blame: Sequence[str] = ()
    _first_output: str | None = None

    def __init__(self, part: str | None = None, blame: str | list[str] | None = None) -> None:
        self.part = part or None
        self.blame = [blame] if isinstance(blame, str) and blame else list(blame or ())

    def bind(self, first_output: str | None) -> None:
        """Check ``first_output`` when no part is named."""
        self._first_output = first_output

    def part_name(self, parts: Parts) -> str:
        """The part that is checked; without a declared order of outputs, the first key of ``parts``."""
        return self.part or self._first_output or next(iter(parts), "")

    def value(self, parts: Parts) -> Any:
        """The value of the part that is checked, or ``ABSENT``."""
        return find_part(parts, self.part_name(parts))

    def label(self, parts: Parts) -> str:
        """The name of the part in messages: the last name of its path."""
        return shorten(self.part_name(parts).rpartition(".")[2], _MAX_LABEL) or "the output"

    def findings(
        self,
        parts: Parts,
        message: str,
        *,
        part: str | None = None,
        expected: object = None,
        got: object = None,
    ) -> list[Finding]:
        """A finding for each part to generate again; ``part`` names a narrower one than the checked part."""
        return [
            Finding(
                name,
                shorten(message, _MAX_MESSAGE),
                expected=None if expected is None else show(expected),
                got=None if got is None else show(got),
            )
            for name in self.blame or [part or self.part_name(parts)]
        ]

    def reject(self, parts: Parts, message: str, *, expected: object = None, got: object = None) -> Verdict:
        """The verdict that the part is wrong; ``message`` tells the model what to change."""
        return self.verdict(*self.findings(parts, message, expected=expected, got=got))

    def setting_error(self, key: str, reason: str) -> DefinitionError:
        """The error for a setting that cannot work; ``reason`` continues the sentence after its name."""
        gate = type(self).__name__
        return DefinitionError(f"Gate '{gate}': {key} {reason}", detail={"type": gate, "key": key})

    # Earlier names, which gates of users may call.
    faults = findings
    fault = reject
    refuse = setting_error


class BaseTextGate(BasePartGate):
    """A gate that checks one part, which must be text."""

    def look(self, parts: Parts) -> Verdict:
        """The verdict on the text; a part that is missing or is not text is a finding."""
        value = self.value(parts)
        if isinstance(value, str):
            return self.look_at_text(value, parts)
        top, nested, _ = self.part_name(parts).partition(".")
        if nested and value is ABSENT and is_raw_response(parts.get(top)):
            return self.verdict(Finding(top, NOT_JSON))  # the same words as the other gates on this answer
        return self.reject(parts, f"{self.label(parts)} {describe_type(value)}", expected="text")

    def look_at_text(self, text: str, parts: Parts) -> Verdict:
        """The verdict on ``text``."""
        raise NotImplementedError


class LongTextGate(BasePartGate):
    """A gate whose time grows with its texts; what takes long is looked at in a thread."""

    is_async = True

    async def check(self, parts: Parts) -> Verdict:
        """The verdict of ``look``."""
        if self.count_characters(parts) <= _LONG_TEXT:
            return self.look(parts)
        return await wait_in_thread(self.look, parts)

    def count_characters(self, parts: Parts) -> int:
        """About how many characters ``look`` reads."""
        names = (self.part_name(parts), *(getattr(self, name, None) or "" for name in ("source", "not_in")))
        places = zip((parts, parts.state, parts.state), names, strict=True)
        values = (find_part(where, name) for where, name in places)
        return sum(len(value) for value in values if isinstance(value, str))


def read_source(parts: Parts, source: str, gate: BaseGate) -> str:
    """The text that an output is compared with; raises GateError when the state does not have it."""
    value = find_part(parts.state, source)
    if value is ABSENT or value is None:
        name = type(gate).__name__
        raise GateError(
            f"The gate {name} could not run: there is no field '{source}' to compare the output with",
            detail={"gate": name, "field": source},
        )
    return as_text(value)
