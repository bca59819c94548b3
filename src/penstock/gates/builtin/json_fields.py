"""Requires some fields of a JSON object."""

from __future__ import annotations

from typing import Any, ClassVar

from penstock.entities import Finding, Parts, Verdict
from penstock.gates.json_answers import NOT_JSON, is_raw_response, read_json
from penstock.gates.messages import describe_type
from penstock.gates.part_gate import BasePartGate
from penstock.gates.parts import ABSENT, find_part


class JSONFieldsGate(BasePartGate):
    """A JSON object, or text that is one, must have some fields."""

    name = "JSON fields"
    description = "The part is a JSON object that has all required fields."
    config_descriptions: ClassVar[dict[str, str]] = {
        "required_fields": "Fields that the object must have; a path such as author.name looks inside.",
    }

    def __init__(
        self,
        required_fields: list[str],
        part: str | None = None,
        blame: str | list[str] | None = None,
    ) -> None:
        super().__init__(part, blame)
        if not required_fields:
            raise self.setting_error("required_fields", "is empty; name at least one field")
        self.required_fields = list(required_fields)

    def look(self, parts: Parts) -> Verdict:
        """The verdict, with a finding for each missing field."""
        value: Any = self.value(parts)
        nested = isinstance(value, dict)
        if isinstance(value, str):
            try:
                value = read_json(value)
            except ValueError as error:
                return self.reject(parts, f"{NOT_JSON}: {error}", expected="JSON", got=value)
        if is_raw_response(value) and "raw_response" not in self.required_fields:
            return self.reject(parts, NOT_JSON, expected="JSON", got=value["raw_response"])
        if not isinstance(value, dict):
            return self.reject(
                parts, f"{self.label(parts)} {describe_type(value, 'a JSON object')}", got=value or None
            )
        missing = [field for field in self.required_fields if find_part(value, field) is ABSENT]
        if not missing:
            return self.verdict()
        return self.verdict(
            *(finding for field in missing for finding in self._report(field, parts, nested=nested))
        )

    def _report(self, field: str, parts: Parts, *, nested: bool) -> list[Finding]:
        part = f"{self.part_name(parts)}.{field}" if nested else None
        return self.findings(parts, f"the field '{field}' is missing", part=part)
