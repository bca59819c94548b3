"""The gate that checks JSON against a JSON Schema."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from penstock.entities import Parts
from penstock.errors import DefinitionError
from penstock.gates.builtin.json_schema import JSONSchemaGate

SCHEMA = {
    "type": "object",
    "properties": {
        "question": {"type": "string", "maxLength": 30},
        "answer": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "kind": {"enum": ["easy", "hard"]},
    },
    "required": ["question", "answer"],
    "additionalProperties": False,
}


GOOD = {"question": "Who?", "answer": "Ada"}


def find_issues(gate: JSONSchemaGate, value: Any) -> list[tuple[str, str]]:
    return [(found.part, found.message) for found in gate.look(Parts({"generated": value})).findings]


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"question": value}
    return value


def test_json_that_follows_the_schema_passes() -> None:
    assert JSONSchemaGate(SCHEMA).look(Parts({"generated": GOOD})).passed
    assert find_issues(JSONSchemaGate(SCHEMA), ' {"question": "Who?", "answer": "Ada"}\n') == []
    assert find_issues(JSONSchemaGate(SCHEMA), '```json\n{"question": "Who?", "answer": "Ada"}\n```') == []


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"question": "Who?"}, ("generated.answer", "answer is missing")),
        ({**GOOD, "answer": 5}, ("generated.answer", 'answer is not of type "string"')),
        ({**GOOD, "question": "x" * 5000}, ("generated.question", "question is longer than 30 characters")),
        ({**GOOD, "tags": ["a", 1]}, ("generated.tags", 'tags.1 is not of type "string"')),
        ({**GOOD, "kind": "odd"}, ("generated.kind", 'kind is not one of "easy" or "hard"')),
        ({**GOOD, "more": 1}, ("generated", "the answer must not have 'more'")),
        ([GOOD], ("generated", 'the answer is not of type "object"')),
        (None, ("generated", 'the answer is not of type "object"')),
        ({"raw_response": "Sure! Here"}, ("generated", "the answer is not JSON")),
        ("Sure! Here", ("generated", "the answer is not JSON: it cannot be read at line 1, column 1")),
        ('{"question": "Who?"}', ("generated", "answer is missing")),
        ("", ("generated", "the answer is not JSON: it cannot be read at line 1, column 1")),
        ("\ud800", ("generated", "the answer is not JSON: it cannot be read at line 1, column 1")),
    ],
)
def test_a_finding_names_the_property_that_is_wrong(value: Any, found: tuple[str, str]) -> None:
    assert find_issues(JSONSchemaGate(SCHEMA), value) == [found]


@pytest.mark.parametrize(
    "value",
    [nested(2000), {1: 2}, {"question": datetime.date(2020, 1, 1)}, {"question": {1, 2}}, b"x", object()],
)
def test_a_value_that_is_not_json_is_a_finding(value: Any) -> None:
    assert find_issues(JSONSchemaGate(SCHEMA), value)


def test_text_that_is_nested_too_deeply_is_a_finding() -> None:
    assert find_issues(JSONSchemaGate(SCHEMA), "[" * 200_000)


def test_many_errors_give_few_findings_with_short_messages() -> None:
    value = {**GOOD, "tags": [{"x": "y" * 1000}] * 5000}

    found = JSONSchemaGate(SCHEMA).look(Parts({"generated": value})).findings

    assert 1 <= len(found) <= 8
    assert all(len(finding.message) <= 300 and len(finding.got or "") <= 120 for finding in found)
    assert all("\n" not in finding.message for finding in found)


def test_property_names_invented_by_a_model_do_not_become_paths() -> None:
    gate = JSONSchemaGate({"additionalProperties": {"type": "string"}})

    assert {part for part, _ in find_issues(gate, {"a.b": 1, "x" * 9999: 2, "": 3})} == {"generated"}
    assert [part for part, _ in find_issues(gate, {"plain": 1})] == ["generated.plain"]


def test_a_part_inside_the_output_can_have_its_own_schema() -> None:
    gate = JSONSchemaGate({"type": "object", "required": ["x"]}, part="generated.inner")

    assert find_issues(gate, {"inner": {}}) == [("generated.inner.x", "x is missing")]
    assert find_issues(gate, {}) == [("generated.inner", "inner is missing")]


def test_a_schema_that_allows_text_checks_it_unparsed() -> None:
    assert find_issues(JSONSchemaGate({"type": "string", "maxLength": 9}), "not JSON") == []
    assert find_issues(JSONSchemaGate({"type": ["string", "null"]}), "not JSON") == []


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "objct"},
        {"maxLength": -1},
        {"pattern": "("},
        {"$ref": "#/nowhere"},
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"$ref": "file:///etc/hostname"},
    ],
)
def test_an_invalid_schema_or_one_with_outside_references_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="json_schema is not a usable JSON Schema") as caught:
        JSONSchemaGate(schema)

    assert len(caught.value.message) < 320


def test_a_missing_part_is_a_finding() -> None:
    assert find_issues(JSONSchemaGate(SCHEMA, part="other"), {}) == [("other", "other is missing")]


def test_blame_names_the_parts_to_generate_again_instead() -> None:
    gate = JSONSchemaGate(SCHEMA, blame=["assistant", "generated"])

    assert [part for part, _ in find_issues(gate, {"question": "Who?"})] == ["assistant", "generated"]
