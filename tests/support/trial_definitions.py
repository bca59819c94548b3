"""Texts of pipelines, and the issues that a validation finds in them."""

from __future__ import annotations

from typing import Any

from penstock.workflow.definition import load_definition
from penstock.workflow.validation import Issue, validate

SEEDS = [{"content": "Bees make honey.", "topic": "bees"}, {"content": "Cats purr.", "topic": "cats"}]

TEXT = "{type: TextGenerator, config: {user_prompt: 'About {{ topic }}'}}"

STRUCTURED = (
    "type: StructuredGenerator\n    config: {user_prompt: '{{ content }}', json_schema: {type: object, "
    "properties: {title: {type: string}, answer: {type: string}}}}"
)

HELD = (
    "type: TextGenerator\n    config: {user_prompt: x}\n    gates: [{type: RegexGate, config: {pattern: x}}]"
)

PLAIN = "type: TextGenerator\n    config: {user_prompt: x}"


def steps(*entries: str, more: str = "") -> str:
    return "name: Test\nblocks:\n" + "".join(f"  - {entry}\n" for entry in entries) + more


def find_issues(text: str, seeds: list[dict[str, Any]] | None = SEEDS) -> list[Issue]:
    definition, source = load_definition(text + "\n")
    return validate(definition, seeds=seeds, source=source)
