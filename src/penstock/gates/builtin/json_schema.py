"""Hold JSON to a schema."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, ClassVar

from penstock.entities import Finding, Parts, Verdict
from penstock.gates.part_gate import NOT_JSON, BasePartGate, is_unread_answer, read_json, shorten
from penstock.gates.parts import ABSENT

_MAX_FINDINGS = 8
_MAX_NAME = 60
_IT = "\0"
"""What the validator writes in place of the value, so that a message cannot drown in it."""


class JSONSchemaGate(BasePartGate):
    """JSON, or text that is JSON, must follow a JSON Schema.

    A fault is put on the property that it is in (``generated.answer``), so that only that one is made again.
    References lead inside the schema only.
    """

    name = "JSON schema"
    description = "The part is JSON that follows a JSON Schema."
    _config_descriptions: ClassVar[dict[str, str]] = {
        "json_schema": "JSON Schema that the part has to follow.",
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
            self._validator = jsonschema_rs.validator_for(json_schema, mask=_IT, offline=True)
        except (ValueError, jsonschema_rs.ReferencingError) as error:
            reason = shorten((getattr(error, "message", "") or str(error)).replace(_IT, "a value"), 200)
            raise self.refuse("json_schema", f"is not a JSON Schema that can be used: {reason}") from error

    def look(self, parts: Parts) -> Verdict:
        """The verdict, with a finding for each of the first faults."""
        value = self.value(parts)
        if value is ABSENT:
            return self.fault(parts, f"{self.label(parts)} is missing", expected="JSON")
        if is_unread_answer(value):
            return self.fault(parts, NOT_JSON, expected="JSON", got=value["raw_response"])
        nested = not isinstance(value, str)
        if isinstance(value, str) and not self._takes_text():
            try:
                value = read_json(value)
            except ValueError as error:
                return self.fault(parts, f"{NOT_JSON}: {error}", expected="JSON", got=value)
        try:
            if self._validator.is_valid(value):
                return self.verdict()
            return self.verdict(*self._find(value, parts, nested=nested))
        except (ValueError, TypeError) as error:  # nested too deep, keys that are no text
            return self.fault(parts, f"{NOT_JSON}: {error}", expected="JSON")

    def _takes_text(self) -> bool:
        """Whether the schema speaks of text itself, which then is not read as JSON."""
        kinds = self.json_schema.get("type", ())
        return "string" in ([kinds] if isinstance(kinds, str) else kinds)

    def _find(self, value: Any, parts: Parts, *, nested: bool) -> Iterator[Finding]:
        for error in islice(self._validator.iter_errors(value), _MAX_FINDINGS):
            path = [str(step) for step in error.instance_path]
            kind: Any = error.kind  # one class a keyword, each with its own facts
            message = error.message
            if kind.name == "required":
                path.append(str(kind.property))
                message = f"{_IT} is missing"
            elif kind.name == "additionalProperties":
                unexpected = ", ".join(f"'{shorten(name, _MAX_NAME)}'" for name in kind.unexpected[:5])
                message = f"{_IT} must not have {unexpected}"
            where = shorten(".".join(path), _MAX_NAME * 2) or "the answer"
            got = None if kind.name == "required" else error.instance
            part = f"{self.part_name(parts)}.{path[0]}" if path and nested and _is_plain(path[0]) else None
            yield from self.faults(parts, message.replace(_IT, where), part=part, got=got)


def _is_plain(name: str) -> bool:
    """Whether a property's name can stand in a path: the model may have made it up."""
    return 0 < len(name) <= _MAX_NAME and "." not in name
