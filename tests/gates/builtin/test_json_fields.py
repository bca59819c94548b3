"""The gate that requires fields of a JSON object."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.entities import Parts
from penstock.errors import DefinitionError
from penstock.gates.builtin.json_fields import JSONFieldsGate


def find_issues(gate: JSONFieldsGate, value: Any) -> list[tuple[str, str]]:
    return [(found.part, found.message) for found in gate.look(Parts({"generated": value})).findings]


def test_text_that_is_nested_too_deeply_is_a_finding() -> None:
    assert find_issues(JSONFieldsGate(["a"]), '{"a":' * 200_000)


def test_every_missing_field_is_a_finding() -> None:
    gate = JSONFieldsGate(["title", "author.name"])

    assert find_issues(gate, {"title": None, "author": {"name": ""}}) == []
    assert find_issues(gate, '{"title": 1, "author": {"name": 2}}') == []
    assert find_issues(gate, {"author": {}}) == [
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
def test_a_value_that_is_not_an_object_is_a_finding_on_the_whole_part(value: Any, found: str) -> None:
    assert find_issues(JSONFieldsGate(["title"]), value) == [("generated", found)]


def test_a_missing_part_is_a_finding() -> None:
    assert find_issues(JSONFieldsGate(["a"], part="other"), {}) == [("other", "other is missing")]


def test_no_required_fields_are_refused() -> None:
    with pytest.raises(DefinitionError, match="name at least one field"):
        JSONFieldsGate([])
