"""Checks JSON against a JSON Schema."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

from penstock.entities import Finding, Parts, Verdict
from penstock.errors import GateError
from penstock.gates.json_answers import NOT_JSON, is_raw_response, read_json
from penstock.gates.messages import shorten
from penstock.gates.part_gate import BasePartGate
from penstock.gates.parts import ABSENT
from penstock.json_schema import MASK, SchemaError, TooMuchWorkError, Violation, compile_schema
from penstock.serialization import MAX_DEPTH, is_nested_too_deep
from penstock.stoppable import wait_in_thread

_MAX_FINDINGS = 8
_MAX_NAME = 60


class JSONSchemaGate(BasePartGate):
    """JSON, or text that is JSON, must follow a JSON Schema.

    A finding names the property that is wrong (``generated.answer``), so that only that one is generated
    again. References must stay inside the schema. A check that takes longer than some seconds is stopped, and
    the gate cannot run.
    """

    name = "JSON schema"
    is_async = True
    description = "The part is JSON that follows a JSON Schema."
    config_descriptions: ClassVar[dict[str, str]] = {
        "json_schema": "JSON Schema that the part must follow.",
    }

    def __init__(
        self,
        json_schema: dict[str, Any],
        part: str | None = None,
        blame: str | list[str] | None = None,
    ) -> None:
        super().__init__(part, blame)
        self.json_schema = json_schema
        try:
            self._validator = compile_schema(json_schema)
        except SchemaError as error:
            raise self.setting_error("json_schema", shorten(str(error), 200)) from error

    async def check(self, parts: Parts) -> Verdict:
        """The verdict of ``look``; what may be a lot of work does not hold the event loop."""
        verdict = self._judge(parts, self._validator.find_at_once)
        return await wait_in_thread(self.look, parts) if verdict is None else verdict

    def look(self, parts: Parts) -> Verdict:
        """The verdict, with a finding for each of the first eight errors; may take some seconds."""
        verdict = self._judge(parts, self._validator.find_at_once)
        if verdict is None:
            verdict = self._judge(parts, self._find_in_child)
        assert verdict is not None
        return verdict

    def _judge(self, parts: Parts, find: Callable[[Any, int], Sequence[Violation] | None]) -> Verdict | None:
        """The verdict by what ``find`` finds in the value; None when it returns None."""
        value = self.value(parts)
        if value is ABSENT:
            return self.reject(parts, f"{self.label(parts)} is missing", expected="JSON")
        if is_raw_response(value):
            return self.reject(parts, NOT_JSON, expected="JSON", got=value["raw_response"])
        nested = not isinstance(value, str)
        if isinstance(value, str) and not self._takes_text():
            try:
                value = read_json(value)
            except ValueError as error:
                return self.reject(parts, f"{NOT_JSON}: {error}", expected="JSON", got=value)
        try:
            found = find(value, _MAX_FINDINGS)
        except TooMuchWorkError as error:
            message = f"The gate JSONSchemaGate could not run: {error}; simplify the schema or its patterns"
            raise GateError(message, detail={"gate": "JSONSchemaGate"}) from error
        except (ValueError, TypeError) as error:  # nested too deep, keys that are not text
            return self.reject(parts, f"{NOT_JSON}: {error}", expected="JSON")
        return None if found is None else self.verdict(*self._report(found, value, parts, nested=nested))

    def _find_in_child(self, value: Any, most: int) -> Sequence[Violation]:
        if is_nested_too_deep(value):  # what Python itself can send depends on its version
            raise ValueError(f"it has more than {MAX_DEPTH} levels")
        return self._validator.find_in_child(value, most)

    def _takes_text(self) -> bool:
        """Whether the schema allows text, which is then not read as JSON."""
        kinds = self.json_schema.get("type", ())
        return "string" in ([kinds] if isinstance(kinds, str) else kinds)

    def _report(
        self, violations: Iterable[Violation], value: Any, parts: Parts, *, nested: bool
    ) -> Iterator[Finding]:
        for violation in violations:
            path = [str(step) for step in violation.path]
            message = violation.message
            if violation.keyword == "required":
                path.extend(violation.names)
                message = f"{MASK} is missing"
            elif violation.keyword == "additionalProperties":
                unexpected = ", ".join(f"'{shorten(name, _MAX_NAME)}'" for name in violation.names)
                message = f"{MASK} must not have {unexpected}"
            where = shorten(".".join(path), _MAX_NAME * 2) or "the answer"
            got = None if violation.keyword == "required" else _find(value, violation.path)
            part = f"{self.part_name(parts)}.{path[0]}" if path and nested and _is_plain(path[0]) else None
            yield from self.findings(parts, message.replace(MASK, where), part=part, got=got)


def _find(value: Any, path: Iterable[str | int]) -> Any:
    """What ``path`` leads to in ``value``."""
    for step in path:
        value = value[step]
    return value


def _is_plain(name: str) -> bool:
    """Whether a property's name can be part of a path; the model may have invented it."""
    return 0 < len(name) <= _MAX_NAME and "." not in name
