"""The form of a class's settings, which the editor draws: a JSON Schema with marks of our own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from typing import Any

from pydantic_core import PydanticSerializationError, to_jsonable_python

from penstock.discovery.config_model import JsonSchema, get_type_schemas
from penstock.discovery.declarations import (
    get_config_descriptions,
    get_field_references,
    get_part_references,
    get_templates,
)
from penstock.discovery.init_settings import Setting, read_settings

_MARKS: dict[str, Callable[[type], Collection[str]]] = {
    "isFieldReference": get_field_references,
    "isPartReference": get_part_references,
    "isTemplate": get_templates,
}


def extract_config_schema(cls: type) -> JsonSchema:
    """The settings of ``cls`` as a JSON Schema of type object, with what an editor needs to draw a form.

    The declarations of the class add to it: ``config_enums`` gives ``enum``, ``config_descriptions`` gives
    ``description``, ``field_references``, ``part_references`` and ``templates`` give ``isFieldReference``,
    ``isPartReference`` and ``isTemplate``.
    """
    settings, _ = read_settings(cls)
    types = get_type_schemas(cls)
    return {
        "type": "object",
        "properties": {setting.name: _describe_setting(cls, setting, types) for setting in settings},
        "required": [setting.name for setting in settings if setting.required],
    }


def _describe_setting(cls: type, setting: Setting, types: Any) -> JsonSchema:
    schema = _simplify(types[setting.name])
    if setting.choices:
        schema["enum"] = list(setting.choices)
    if not setting.required:
        with contextlib.suppress(
            PydanticSerializationError
        ):  # a default that JSON has no type for is not shown
            schema["default"] = to_jsonable_python(setting.default)
    schema.update({mark: True for mark, get_names in _MARKS.items() if setting.name in get_names(cls)})
    if description := get_config_descriptions(cls).get(setting.name):
        schema["description"] = description
    return schema


def _simplify(schema: JsonSchema) -> JsonSchema:
    """The schema for one form field: of several types the first, without titles and without null."""
    schema = next(filter(_is_value, schema.get("anyOf", [schema])), {})
    simple: JsonSchema = {key: schema[key] for key in ("type", "enum") if key in schema}
    if "const" in schema:
        simple["enum"] = [schema["const"]]
    if "items" in schema:
        simple["items"] = _simplify(schema["items"])
    values = schema.get("additionalProperties")
    if isinstance(values, dict) and (simple_values := _simplify(values)):
        simple["additionalProperties"] = simple_values
    return simple


def _is_value(schema: JsonSchema) -> bool:
    return schema.get("type") != "null"


def is_schema(schema: dict[str, Any]) -> bool:
    """Whether a class's own ``get_schema`` gives what lists and editors read."""
    settings = schema.get("config_schema")
    return (
        all(isinstance(schema.get(key), str) for key in ("type", "name", "description"))
        and all(_is_list_of_texts(schema.get(key, [])) for key in ("inputs", "outputs"))
        and isinstance(settings, dict)
        and isinstance(settings.get("properties"), dict)
        and all(isinstance(setting, dict) for setting in settings["properties"].values())
        and _is_list_of_texts(settings.get("required"))
    )


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
