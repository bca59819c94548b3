"""Mistakes in pipelines, each found before any model is asked."""

from __future__ import annotations

import pytest

from penstock.workflow import validate
from support.trial_definitions import HELD, PLAIN, STRUCTURED, TEXT, find_issues, steps

MISTAKES: list[tuple[str, str, int | None, str]] = [
    ("empty name", "name: ''\nblocks: [" + TEXT + "]", None, "no name"),
    ("no blocks", "name: x\nblocks: []", None, "no blocks"),
    ("blocks left out", "name: x\ndescription: y", None, "no blocks"),
    ("blocks as a mapping", "name: x\nblocks: {type: TextGenerator}", None, "does not have a list"),
    ("steps for blocks", "name: x\nsteps: []", None, "'steps' means nothing here. Write 'blocks'"),
    (
        "unknown block",
        steps("type: TextGenrator"),
        1,
        "Block 'TextGenrator' not found. Did you mean 'TextGenerator'?",
    ),
    ("step without a type", steps(TEXT, "config: {}"), 2, "does not say which block"),
    ("step that is text", steps("TextGenerator"), 1, "not a mapping"),
    (
        "unknown setting",
        steps("{type: TextGenerator, config: {user_promt: hi, user_prompt: x}}"),
        1,
        "user_promt",
    ),
    ("missing setting", steps("{type: StructuredGenerator, config: {user_prompt: hi}}"), 1, "'json_schema'"),
    (
        "number as text",
        steps("{type: TextGenerator, config: {user_prompt: x, temperature: hot}}"),
        1,
        "a number",
    ),
    (
        "text where a list is due",
        steps(TEXT, "{type: JSONValidatorBlock, config: {required_fields: title}}"),
        2,
        "Write 'required_fields: [title]'",
    ),
    (
        "choice that is none",
        steps(TEXT, "{type: RougeScore, config: {reference_field: topic, rouge_type: rouge9}}"),
        2,
        "rougeL",
    ),
    (
        "setting beside config",
        steps("{type: TextGenerator, temperature: 0.1, config: {user_prompt: x}}"),
        1,
        "Move 'temperature' under 'config'",
    ),
    ("config that is a list", steps("{type: TextGenerator, config: [x]}"), 1, "must be a mapping"),
    (
        "temperature out of reach",
        steps("{type: TextGenerator, config: {user_prompt: x, temperature: 7}}"),
        1,
        "temperature is 7",
    ),
    (
        "no tokens",
        steps("{type: TextGenerator, config: {user_prompt: x, max_tokens: 0}}"),
        1,
        "max_tokens is 0",
    ),
    (
        "lengths crossed",
        steps(TEXT, "{type: ValidatorBlock, config: {min_length: 9, max_length: 3}}"),
        2,
        "min_length is 9 and max_length is 3",
    ),
    ("template syntax", steps("{type: TextGenerator, config: {user_prompt: '{% if %}'}}"), 1, "syntax error"),
    (
        "unknown variable",
        steps("{type: TextGenerator, config: {user_prompt: '{{ topc }}'}}"),
        1,
        "reads 'topc', which neither the seeds nor an earlier step have. Did you mean 'topic'?",
    ),
    (
        "unknown metadata",
        steps("{type: TextGenerator, config: {user_prompt: '{{ metadata.tpic }}'}}"),
        1,
        "Did you mean 'topic'?",
    ),
    (
        "variable of a later step",
        steps("{type: TextGenerator, config: {user_prompt: '{{ generated }}'}}", STRUCTURED),
        1,
        "only step 2 makes, later",
    ),
    ("field read before it is made", steps("type: CoherenceScore", TEXT), 1, "only step 2 makes, later"),
    (
        "field that no step makes",
        steps(TEXT, "{type: DiversityScore, config: {field_name: assistent}}"),
        2,
        "Did you mean 'assistant'?",
    ),
    ("reference that no seed has", steps(TEXT, "type: RougeScore"), 2, "reference"),
    ("no prompt", steps("type: TextGenerator"), 1, "no prompt"),
    ("nothing to validate", steps("type: ValidatorBlock"), 1, "reads text or assistant"),
    (
        "gate for gates",
        steps("{type: TextGenerator, config: {user_prompt: x}, gate: []}"),
        1,
        "Write 'gates'",
    ),
    (
        "unknown gate",
        steps("{type: TextGenerator, config: {user_prompt: x}, gates: [{type: RegexpGate}]}"),
        1,
        "Did you mean 'RegexGate'?",
    ),
    (
        "unknown gate setting",
        steps(PLAIN + "\n    gates: [{type: RegexGate, config: {patern: x, pattern: y}}]"),
        1,
        "patern",
    ),
    (
        "gate without its setting",
        steps("{type: TextGenerator, config: {user_prompt: x}, gates: [{type: RegexGate}]}"),
        1,
        "'pattern'",
    ),
    (
        "gates as a mapping",
        steps("{type: TextGenerator, config: {user_prompt: x}, gates: {type: RegexGate}}"),
        1,
        "'gates' is not a list",
    ),
    (
        "gate on another step's part",
        steps(TEXT, STRUCTURED + ("\n    gates: [{type: RegexGate, config: {pattern: x, part: assistant}}]")),
        2,
        "Put the gate on step 1",
    ),
    (
        "gate on a part that is not in the schema",
        steps(STRUCTURED + ("\n    gates: [{type: RegexGate, config: {pattern: x, part: generated.titel}}]")),
        1,
        "Did you mean 'title'?",
    ),
    (
        "broken pattern",
        steps(PLAIN + "\n    gates: [{type: RegexGate, config: {pattern: '('}}]"),
        1,
        "",
    ),
    (
        "gate that requires what the schema lacks",
        steps(STRUCTURED + ("\n    gates: [{type: JSONFieldsGate, config: {required_fields: [titel]}}]")),
        1,
        "requires 'titel'",
    ),
    (
        "validator that requires what the schema lacks",
        steps(
            STRUCTURED,
            ("{type: JSONValidatorBlock, config: {field_name: generated, required_fields: [body]}}"),
        ),
        2,
        "requires 'body'",
    ),
    (
        "no attempts",
        steps(HELD + "\n    heal: {max_attempts: 0}"),
        1,
        "max_attempts",
    ),
    (
        "unknown entropy",
        steps(HELD + "\n    heal: {entropy: {kind: rampe}}"),
        1,
        "ramp",
    ),
    (
        "temperature of healing out of reach",
        steps(HELD + "\n    heal: {entropy: {kind: schedule, temperatures: [0, 3]}}"),
        1,
        "between 0 and 2",
    ),
    (
        "unknown setting of healing",
        steps(HELD + "\n    heal: {attempts: 3}"),
        1,
        "attempts",
    ),
    (
        "healing without gates",
        steps("{type: TextGenerator, config: {user_prompt: x}, heal: {max_attempts: 3}}"),
        1,
        "nothing to heal",
    ),
    ("no samples", steps("{type: TextGenerator, config: {user_prompt: x}, samples: 0}"), 1, "'samples' is 0"),
    (
        "similarity of one sample",
        steps("{type: TextGenerator, config: {user_prompt: x}, gates: [{type: SimilarityGate}]}"),
        1,
        "compares samples",
    ),
    (
        "multiplier second",
        steps(TEXT, "type: MarkdownMultiplierBlock"),
        2,
        "Multiplier block must be first in pipeline",
    ),
    (
        "two multipliers",
        steps("type: MarkdownMultiplierBlock", "type: MarkdownMultiplierBlock"),
        2,
        "Only one multiplier block allowed per pipeline",
    ),
    (
        "multiplier without its document",
        steps(
            "type: MarkdownMultiplierBlock", ("{type: TextGenerator, config: {user_prompt: '{{ content }}'}}")
        ),
        1,
        "file_content",
    ),
    ("limit below -1", steps(TEXT, more="constraints: {max_total_tokens: -2}"), None, "-1 for no limit"),
    ("limit as text", steps(TEXT, more="constraints: {max_total_tokens: many}"), None, "a whole number"),
    ("unknown limit", steps(TEXT, more="constraints: {max_tokens_total: 5}"), None, "no limit called"),
    ("constraints as a list", steps(TEXT, more="constraints: [5]"), None, "not a mapping"),
    (
        "schema that is none",
        steps("{type: StructuredGenerator, config: {user_prompt: x, json_schema: {type: objekt}}}"),
        1,
        "not a valid JSON Schema",
    ),
    (
        "schema that requires what it lacks",
        steps(
            "{type: StructuredGenerator, config: {user_prompt: x, json_schema: "
            "{type: object, properties: {a: {type: string}}, required: [b]}}}"
        ),
        1,
        "requires 'b'",
    ),
    (
        "schema elsewhere",
        steps(
            "{type: StructuredGenerator, config: {user_prompt: x, json_schema: {$ref: 'https://example.org/s'}}}"
        ),
        1,
        "another document",
    ),
    (
        "schema reference to nothing",
        steps("{type: StructuredGenerator, config: {user_prompt: x, json_schema: {$ref: '#/$defs/a'}}}"),
        1,
        "which is not in it",
    ),
    ("key twice", steps("{type: TextGenerator, config: {user_prompt: a, user_prompt: b}}"), 1, "there twice"),
    ("block twice", "name: a\nname: b\nblocks: [" + TEXT + "]", None, "there twice"),
]


@pytest.mark.row("A11", "A33", "A34", "A44", "A52", "A72", "A73", "A79")
@pytest.mark.parametrize(
    ("text", "step", "words"), [each[1:] for each in MISTAKES], ids=[each[0] for each in MISTAKES]
)
def test_a_mistake_is_found_at_its_step(text: str, step: int | None, words: str) -> None:
    issues = find_issues(text)

    assert any(issue.step == step and words in str(issue) for issue in issues), list(map(str, issues))
    assert all(issue.fix and issue.line for issue in issues)


@pytest.mark.parametrize("text", [each[1] for each in MISTAKES], ids=[each[0] for each in MISTAKES])
def test_a_mistake_is_reported_once(text: str) -> None:
    places = [(issue.step, issue.key, issue.message) for issue in find_issues(text)]

    assert len(places) == len(set(places))
    assert len(places) <= 3, places


def test_there_are_at_least_thirty_mistakes() -> None:
    assert len(MISTAKES) >= 30


def test_a_prompt_that_yaml_ends_at_a_number_sign_is_a_warning() -> None:
    issues = find_issues(
        "name: a\nblocks:\n  - type: TextGenerator\n    config:\n      user_prompt: Write C # code\n"
    )

    assert [(issue.severity, issue.step, issue.key, issue.line) for issue in issues] == [
        ("warning", 1, "config.user_prompt", 5)
    ]
    assert "'# code'" in issues[0].message


@pytest.mark.parametrize("name", ["true", "none", "False"])
def test_a_field_that_is_called_like_a_constant_of_templates_is_a_warning(name: str) -> None:
    prompt = '{{ metadata["' + name + '"] }}'
    definition = {
        "name": "x",
        "blocks": [{"type": "TextGenerator", "config": {"user_prompt": prompt}}],
    }

    (issue,) = validate(definition, seeds=[{name: "kept", "text": "x"}])

    assert issue.severity == "warning"
    assert f"'{name}', which is a constant in templates" in issue.message
    assert f'metadata["{name}"]' in issue.fix
