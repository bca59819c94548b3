"""Keywords that have no effect are said before a run."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.settings import Settings
from penstock.workflow import validate


def find(schema: dict[str, Any]) -> list[tuple[str | None, str]]:
    config = {"user_prompt": "hi", "json_schema": {"type": "object", "properties": {"a": schema}}}
    definition = {"name": "P", "blocks": [{"type": "StructuredGenerator", "config": config}]}
    return [(issue.key, issue.severity) for issue in validate(definition, settings=Settings())]


@pytest.mark.parametrize("name", ["format", "nullable"])
def test_a_keyword_without_effect_is_a_warning(name: str) -> None:
    schema = {"type": "string", name: "email" if name == "format" else True}

    assert find(schema) == [(f"config.json_schema.properties.a.{name}", "warning")]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "nullable": False},
        {"type": "object", "properties": {"format": {"type": "string"}, "nullable": {"type": "boolean"}}},
        {"enum": [{"format": "email", "nullable": True}]},
    ],
)
def test_what_only_has_the_same_name_is_none(schema: dict[str, Any]) -> None:
    assert find(schema) == []


def test_formats_are_checked_in_older_versions() -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": {"a": {"type": "string", "format": "email"}},
    }
    step = {"type": "StructuredGenerator", "config": {"user_prompt": "hi", "json_schema": schema}}

    assert validate({"name": "P", "blocks": [step]}, settings=Settings()) == []
