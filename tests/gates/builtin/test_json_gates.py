"""The gates that look at JSON."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from penstock.entities import Parts
from penstock.errors import DefinitionError
from penstock.gates.builtin.json_fields import JSONFieldsGate
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


def faults(gate: JSONSchemaGate | JSONFieldsGate, value: Any) -> list[tuple[str, str]]:
    return [(found.part, found.message) for found in gate.look(Parts({"generated": value})).findings]


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"question": value}
    return value


def test_json_that_follows_the_schema_passes() -> None:
    assert JSONSchemaGate(SCHEMA).look(Parts({"generated": GOOD})).passed
    assert faults(JSONSchemaGate(SCHEMA), ' {"question": "Who?", "answer": "Ada"}\n') == []
    assert faults(JSONSchemaGate(SCHEMA), '```json\n{"question": "Who?", "answer": "Ada"}\n```') == []


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
def test_a_fault_is_put_on_the_property_that_it_is_in(value: Any, found: tuple[str, str]) -> None:
    assert faults(JSONSchemaGate(SCHEMA), value) == [found]


@pytest.mark.parametrize(
    "value",
    [nested(2000), {1: 2}, {"question": datetime.date(2020, 1, 1)}, {"question": {1, 2}}, b"x", object()],
)
def test_what_is_no_json_at_all_is_a_fault_and_no_crash(value: Any) -> None:
    assert faults(JSONSchemaGate(SCHEMA), value)


def test_text_that_is_nested_too_deep_is_a_fault() -> None:
    assert faults(JSONSchemaGate(SCHEMA), "[" * 200_000)
    assert faults(JSONFieldsGate(["a"]), '{"a":' * 200_000)


def test_very_many_faults_give_few_findings_with_short_lines() -> None:
    value = {**GOOD, "tags": [{"x": "y" * 1000}] * 5000}

    found = JSONSchemaGate(SCHEMA).look(Parts({"generated": value})).findings

    assert 1 <= len(found) <= 8
    assert all(len(finding.message) <= 300 and len(finding.got or "") <= 120 for finding in found)
    assert all("\n" not in finding.message for finding in found)


def test_property_names_that_a_model_made_up_do_not_become_paths() -> None:
    gate = JSONSchemaGate({"additionalProperties": {"type": "string"}})

    assert {part for part, _ in faults(gate, {"a.b": 1, "x" * 9999: 2, "": 3})} == {"generated"}
    assert [part for part, _ in faults(gate, {"plain": 1})] == ["generated.plain"]


def test_a_part_inside_the_output_can_be_held_to_a_schema_of_its_own() -> None:
    gate = JSONSchemaGate({"type": "object", "required": ["x"]}, part="generated.inner")

    assert faults(gate, {"inner": {}}) == [("generated.inner.x", "x is missing")]
    assert faults(gate, {}) == [("generated.inner", "inner is missing")]


def test_a_schema_that_takes_text_takes_it_as_it_is() -> None:
    assert faults(JSONSchemaGate({"type": "string", "maxLength": 9}), "not JSON") == []
    assert faults(JSONSchemaGate({"type": ["string", "null"]}), "not JSON") == []


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
def test_a_schema_that_is_none_or_leads_outside_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="json_schema is not a usable JSON Schema") as caught:
        JSONSchemaGate(schema)

    assert len(caught.value.message) < 320


def test_blame_names_the_parts_to_make_again_instead() -> None:
    gate = JSONSchemaGate(SCHEMA, blame=["assistant", "generated"])

    assert [part for part, _ in faults(gate, {"question": "Who?"})] == ["assistant", "generated"]


def test_a_gate_that_is_bound_looks_at_the_first_output_whatever_the_order_of_the_parts() -> None:
    gate = JSONFieldsGate(["a"])

    gate.bind("second")

    assert gate.look(Parts({"first": {}, "second": {"a": 1}})).passed


def test_all_required_fields_are_looked_for() -> None:
    gate = JSONFieldsGate(["title", "author.name"])

    assert faults(gate, {"title": None, "author": {"name": ""}}) == []
    assert faults(gate, '{"title": 1, "author": {"name": 2}}') == []
    assert faults(gate, {"author": {}}) == [
        ("generated.title", "the field 'title' is missing"),
        ("generated.author.name", "the field 'author.name' is missing"),
    ]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ('{"author": 1}', "the field 'title' is missing"),
        ("prose", "the answer is not JSON: it cannot be read at line 1, column 1"),
        ({"raw_response": "prose"}, "the answer is not JSON"),
        ([], "generated is a list, not a JSON object"),
        ("[1]", "generated is a list, not a JSON object"),
        (None, "generated is null, not a JSON object"),
        (7, "generated is a number, not a JSON object"),
    ],
)
def test_what_is_no_object_is_a_fault_of_the_whole(value: Any, found: str) -> None:
    assert faults(JSONFieldsGate(["title"]), value) == [("generated", found)]


def test_a_part_that_is_not_there_is_a_fault() -> None:
    assert faults(JSONFieldsGate(["a"], part="other"), {}) == [("other", "other is missing")]
    assert faults(JSONSchemaGate(SCHEMA, part="other"), {}) == [("other", "other is missing")]


def test_no_required_fields_are_refused() -> None:
    with pytest.raises(DefinitionError, match="name at least one field"):
        JSONFieldsGate([])
