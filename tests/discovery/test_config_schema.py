"""The form that is read from ``__init__``."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any, Literal

import pytest

from discovery.probe import Probe, Shade
from penstock.discovery import check_config, extract_config_schema
from penstock.errors import DefinitionError


@pytest.mark.row("A61", "A62", "A63", "A64", "A65", "A66", "A67", "A68")
def test_the_schema_of_settings_is_read_from_init() -> None:
    schema = extract_config_schema(Probe)

    assert schema["type"] == "object"
    assert schema["required"] == ["number", "count"]
    assert schema["properties"] == {
        "number": {"type": "number"},
        "count": {"type": "integer"},
        "text": {"type": "string", "default": "", "isTemplate": True, "description": "What to say."},
        "flag": {"type": "boolean", "default": False},
        "table": {"type": "object", "default": None},
        "amounts": {"type": "object", "additionalProperties": {"type": "integer"}, "default": None},
        "names": {"type": "array", "items": {"type": "string"}, "default": None},
        "rows": {
            "type": "array",
            "items": {"type": "array", "items": {"type": "integer"}},
            "default": None,
        },
        "records": {"type": "array", "items": {"type": "object"}, "default": None},
        "bare": {"type": "array", "items": {}, "default": []},
        "literal": {"type": "string", "enum": ["a", "b"], "default": "a"},
        "shade": {"type": "string", "enum": ["dark", "light"], "default": "dark"},
        "chosen": {"type": "string", "enum": ["one", "two"], "default": "one"},
        "words": {"type": "array", "items": {"type": "string"}, "default": None},
        "anything": {"default": None},
        "odd": {},
        "field_name": {"type": "string", "default": "assistant", "isFieldReference": True},
        "part": {"type": "string", "default": None, "isPartReference": True},
    }


@pytest.mark.row("A69")
def test_a_class_without_init_takes_no_settings() -> None:
    class Bare: ...

    assert extract_config_schema(Bare) == {"type": "object", "properties": {}, "required": []}
    with pytest.raises(DefinitionError, match="Block 'Bare' has no setting 'x'; it takes no settings"):
        check_config(Bare, {"x": 1})


def test_an_annotation_that_cannot_be_resolved_allows_any_type() -> None:
    class Odd:
        def __init__(self, known: int, unknown: NotThere) -> None: ...  # type: ignore[name-defined]  # noqa: F821  (as in a slip)

    schema = extract_config_schema(Odd)

    assert schema["properties"] == {"known": {"type": "integer"}, "unknown": {}}
    check_config(Odd, {"known": 1, "unknown": object()})


FOLDER = Path("data")


class Varied:
    def __init__(
        self,
        kinds: list[Literal["a", "b"]],
        one: Literal["only"] = "only",
        shades: list[Shade] | None = None,
        folder: Path = FOLDER,
        nothing: None = None,
        either: int | list[str] = 0,
        deep: dict[str, dict[str, list[int]]] | None = None,
        pairs: tuple[int, ...] = (1, 2),
        when: datetime.date | None = None,
        shade: Shade | None = None,
        anything: list[Any] | dict[str, Any] | None = None,
    ) -> None: ...


def test_nested_types_and_unions_become_fields_of_a_form() -> None:
    assert extract_config_schema(Varied)["properties"] == {
        "kinds": {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}},
        "one": {"type": "string", "enum": ["only"], "default": "only"},
        "shades": {"type": "array", "items": {"type": "string", "enum": ["dark", "light"]}, "default": None},
        "folder": {"type": "string", "default": "data"},
        "nothing": {"default": None},
        "either": {"type": "integer", "default": 0},
        "deep": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "additionalProperties": {"type": "array", "items": {"type": "integer"}},
            },
            "default": None,
        },
        "pairs": {"type": "array", "items": {"type": "integer"}, "default": [1, 2]},
        "when": {"default": None},
        "shade": {"type": "string", "enum": ["dark", "light"], "default": None},
        "anything": {"type": "array", "items": {}, "default": None},
    }
