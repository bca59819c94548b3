"""Fields that validators and gates require, compared with the JSON Schema of what they look at."""

from __future__ import annotations

import pytest

from support.trial_definitions import find_issues, steps

NESTED = (
    "type: StructuredGenerator\n    config: {user_prompt: x, json_schema: {type: object, properties: "
    "{title: {type: string}, author: {type: object, properties: {name: {type: string}}}, "
    "tags: {type: array, items: {type: object, properties: {word: {type: string}}}}, a.b: {type: string}}}}"
)


def gate(field: str) -> str:
    """A step whose gate requires one field."""
    return NESTED + f"\n    gates: [{{type: JSONFieldsGate, config: {{required_fields: ['{field}']}}}}]"


def part(path: str) -> str:
    """A step with a gate on one part."""
    return NESTED + f"\n    gates: [{{type: RegexGate, config: {{pattern: x, part: '{path}'}}}}]"


@pytest.mark.parametrize("field", ["title", "author.name", "a.b", "tags.0.word"])
def test_a_gate_may_require_a_path_that_the_schema_has(field: str) -> None:
    assert find_issues(steps(gate(field))) == []


@pytest.mark.parametrize(
    ("field", "fix"),
    [
        ("titel", "Did you mean 'title'?"),
        ("author.nam", "Did you mean 'name'?"),
        ("tags.0.wort", "Did you mean 'word'?"),
    ],
)
def test_a_path_that_the_schema_does_not_have_is_an_issue(field: str, fix: str) -> None:
    (issue,) = find_issues(steps(gate(field)))

    assert issue.message == f"It requires '{field}', which the JSON schema of 'generated' does not have."
    assert issue.fix == fix


def test_a_validator_requires_keys_and_no_paths() -> None:
    text = steps(
        NESTED,
        "{type: JSONValidatorBlock, config: {field_name: generated, required_fields: [a.b, author.name]}}",
    )

    (issue,) = find_issues(text)

    assert (issue.step, issue.message) == (
        2,
        "It requires 'author.name', which the JSON schema of 'generated' does not have.",
    )


@pytest.mark.parametrize("path", ["generated.a.b", "generated.author.name", "generated.tags.3.word"])
def test_a_gate_may_look_at_a_part_that_the_schema_has(path: str) -> None:
    assert find_issues(steps(part(path))) == []


@pytest.mark.parametrize("keyword", ["anyOf", "allOf", "oneOf"])
def test_nothing_is_missing_from_a_schema_that_is_described_elsewhere_too(keyword: str) -> None:
    schema = f"{{type: object, properties: {{a: {{}}}}, {keyword}: [{{type: object}}]}}"
    text = steps(
        f"type: StructuredGenerator\n    config: {{user_prompt: x, json_schema: {schema}}}\n"
        "    gates: [{type: JSONFieldsGate, config: {required_fields: [b]}}]"
    )

    assert find_issues(text) == []
