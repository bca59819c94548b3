"""Check that a field holds JSON."""

from __future__ import annotations

import json
from typing import Any, ClassVar, NoReturn

from penstock.blocks.base import BaseBlock
from penstock.errors import BadInputError
from penstock.serialization import is_nested_too_deep

_TOO_DEEP = "it is nested too deeply"


class JSONValidatorBlock(BaseBlock):
    """Whether a field holds JSON with all required fields, and the value of that JSON.

    Invalid JSON is not repaired: that is a matter for the step that generates it. With ``strict``, text that
    is not JSON fails the record instead of being reported.
    """

    name = "JSON validator"
    description = "Reads a field as JSON and reports whether it has the required fields."
    inputs: ClassVar[list[str]] = ["*"]
    outputs: ClassVar[list[str]] = ["valid", "parsed_json"]
    field_references: ClassVar[list[str]] = ["field_name"]
    config_descriptions: ClassVar[dict[str, str]] = {
        "field_name": "Field with the JSON, as text or already parsed.",
        "required_fields": "Fields that the JSON object must have.",
        "strict": "Fail the record when the text is not JSON.",
    }

    def __init__(
        self,
        field_name: str = "assistant",
        required_fields: list[str] | None = None,
        strict: bool = False,
    ) -> None:
        self.field_name = field_name
        self.required_fields = required_fields or []
        self.strict = strict

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        """``valid``, and the JSON as ``parsed_json`` when it is."""
        try:
            value = self._read(data.get(self.field_name))
        except ValueError as error:
            if self.strict:
                raise BadInputError(f"invalid JSON: {error}", detail={"field": self.field_name}) from error
            return {"valid": False, "parsed_json": None}
        if self.required_fields and not (
            isinstance(value, dict) and all(field in value for field in self.required_fields)
        ):
            return {"valid": False, "parsed_json": None}
        return {"valid": True, "parsed_json": value}

    def _read(self, value: Any) -> Any:
        """The JSON in ``value``; raises ValueError that says why there is none."""
        if value is None:
            raise ValueError(f"the field '{self.field_name}' is missing or empty")
        if not isinstance(value, str):
            return value
        try:
            read = json.loads(_unfence(value), parse_constant=_refuse_constant)
        except RecursionError as error:
            raise ValueError(_TOO_DEEP) from error
        if is_nested_too_deep(read):
            raise ValueError(_TOO_DEEP)
        return read


def _unfence(text: str) -> str:
    """The content of the code fence when the text is one fenced block, otherwise the text."""
    fenced = text.strip()
    if len(fenced) < 6 or not (fenced.startswith("```") and fenced.endswith("```")):
        return text
    inner = fenced[3:-3]
    language, newline, body = inner.partition("\n")
    return body if (newline and language.strip().isalnum()) or not language.strip() else inner


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")
