"""Checks JSON against a JSON Schema."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, ClassVar

from penstock.entities import Finding, Parts, Verdict
from penstock.gates.json_answers import NOT_JSON, is_raw_response, read_json
from penstock.gates.messages import shorten
from penstock.gates.part_gate import BasePartGate
from penstock.gates.parts import ABSENT

_MAX_FINDINGS = 8
_MAX_NAME = 60
_MASK = "\0"
"""Stands for the value in the validator's messages, because the value may be very long."""


class JSONSchemaGate(BasePartGate):
    """JSON, or text that is JSON, must follow a JSON Schema.

    A finding names the property that is wrong (``generated.answer``), so that only that one is generated
    again. References must stay inside the schema.
    """

    name = "JSON schema"
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
        import jsonschema_rs

        self.json_schema = json_schema
        try:
            self._validator = jsonschema_rs.validator_for(json_schema, mask=_MASK, offline=True)
        except (ValueError, jsonschema_rs.ReferencingError) as error:
            reason = shorten((getattr(error, "message", "") or str(error)).replace(_MASK, "a value"), 200)
            raise self.setting_error("json_schema", f"is not a usable JSON Schema: {reason}") from error

    def look(self, parts: Parts) -> Verdict:
        """The verdict, with a finding for each of the first eight errors."""
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
            if self._validator.is_valid(value):
                return self.verdict()
            return self.verdict(*self._find_errors(value, parts, nested=nested))
        except (ValueError, TypeError) as error:  # nested too deep, keys that are not text
            return self.reject(parts, f"{NOT_JSON}: {error}", expected="JSON")

    def _takes_text(self) -> bool:
        """Whether the schema allows text, which is then not read as JSON."""
        kinds = self.json_schema.get("type", ())
        return "string" in ([kinds] if isinstance(kinds, str) else kinds)

    def _find_errors(self, value: Any, parts: Parts, *, nested: bool) -> Iterator[Finding]:
        for error in islice(self._validator.iter_errors(value), _MAX_FINDINGS):
            path = [str(step) for step in error.instance_path]
            kind: Any = error.kind  # one class for each keyword, with different attributes
            message = error.message
            if kind.name == "required":
                path.append(str(kind.property))
                message = f"{_MASK} is missing"
            elif kind.name == "additionalProperties":
                unexpected = ", ".join(f"'{shorten(name, _MAX_NAME)}'" for name in kind.unexpected[:5])
                message = f"{_MASK} must not have {unexpected}"
            where = shorten(".".join(path), _MAX_NAME * 2) or "the answer"
            got = None if kind.name == "required" else error.instance
            part = f"{self.part_name(parts)}.{path[0]}" if path and nested and _is_plain(path[0]) else None
            yield from self.findings(parts, message.replace(_MASK, where), part=part, got=got)


def _is_plain(name: str) -> bool:
    """Whether a property's name can be part of a path; the model may have invented it."""
    return 0 < len(name) <= _MAX_NAME and "." not in name
