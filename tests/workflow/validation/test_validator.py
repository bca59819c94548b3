"""Validating whole definitions, valid ones and arbitrary data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import penstock.templates
from penstock.blocks.base import BaseBlock
from penstock.blocks.registry import BlockRegistry
from penstock.errors import PipelineError
from penstock.seeds import SeedSource
from penstock.workflow import Pipeline
from penstock.workflow.definition import load_definition
from penstock.workflow.validation import validate
from support.trial_definitions import STRUCTURED, TEXT, find_issues, steps

GOOD = {
    "text": steps(TEXT, "type: DiversityScore", "type: ValidatorBlock"),
    "optional": steps("{type: TextGenerator, config: {user_prompt: \"{{ nick | default('you') }}\"}}"),
    "loop": steps("{type: TextGenerator, config: {user_prompt: '{% for w in topic %}{{ w }}{% endfor %}'}}"),
    "metadata": steps(
        "{type: TextGenerator, config: {user_prompt: '{{ metadata.topic }} {{ metadata | tojson }}'}}"
    ),
    "chained": steps(
        STRUCTURED,
        "{type: TextGenerator, config: {user_prompt: '{{ generated.title }}'}}",
        ("{type: JSONValidatorBlock, config: {field_name: generated, required_fields: [title]}}"),
    ),
    "gated": steps(
        STRUCTURED
        + (
            "\n    gates: [{type: RegexGate, config: {pattern: x, part: generated.title}}]"
            "\n    heal: {max_attempts: 6, entropy: {kind: schedule, temperatures: [0, 0.3]},"
            " stop_on_repeat: false}"
        )
    ),
    "kept keys": steps(
        "{type: TextGenerator, id: n1, position: {x: 1}, config: {user_prompt: x}}", more="layout: {}"
    ),
    "limits": steps(
        TEXT,
        more="constraints: {max_total_tokens: 100, max_total_execution_time: 2.5, "
        "max_total_cost: -1, max_total_input_tokens: null}",
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_valid_pipeline_has_no_issue(name: str) -> None:
    assert list(map(str, find_issues(GOOD[name]))) == []
    assert list(map(str, find_issues(GOOD[name], seeds=None))) == []
    Pipeline.load_from_dict(load_definition(GOOD[name])[0])


def test_the_built_in_templates_have_no_issue() -> None:
    folder = Path(penstock.templates.__file__).parent

    for file in folder.glob("*.yaml"):
        definition, source = load_definition(file)
        seeds = SeedSource.from_data(json.loads((folder / "seeds" / f"seed_{file.stem}.json").read_text()))

        assert list(map(str, validate(definition, seeds=seeds.head(100), source=source))) == [], file.name


def test_an_issue_gives_line_step_key_and_fix() -> None:
    issues = find_issues(
        "name: Test\nblocks:\n  - type: TextGenerator\n    config:\n      user_prompt: '{{ topc }}'"
    )

    (issue,) = issues
    assert issue.to_dict() == {
        "message": "The template reads 'topc', which neither the seeds nor an earlier step have.",
        "fix": "Did you mean 'topic'?",
        "step": 1,
        "block": "TextGenerator",
        "key": "config.user_prompt",
        "line": 5,
        "severity": "error",
    }
    assert str(issue).startswith("line 5, step 1 (TextGenerator): The template reads 'topc'")
    assert "\n" not in str(issue)


def test_a_block_that_cannot_be_made_is_an_issue() -> None:
    class Picky(BaseBlock):
        outputs = ["x"]  # noqa: RUF012 - as users write it

        def __init__(self, size: int = 1) -> None:
            if size < 0:
                raise RuntimeError("size must be positive")

    blocks = BlockRegistry()
    blocks.register(Picky)

    (issue,) = validate({"name": "x", "blocks": [{"type": "Picky", "config": {"size": -1}}]}, blocks=blocks)

    assert "size must be positive" in issue.message


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        (None, "not a mapping"),
        ([], "not a mapping"),
        ({1: 2}, "not text"),
        (
            {"name": "x", "blocks": [{"type": "TextGenerator", "config": {"user_prompt": b"x"}}]},
            "not a value",
        ),
        ({"name": "x", "blocks": [], "layout": float("nan")}, "not a value"),
    ],
)
def test_data_that_json_cannot_hold_is_an_issue(definition: Any, words: str) -> None:
    assert any(words in str(issue) for issue in validate(definition))


def test_a_definition_that_contains_itself_or_is_too_deep_is_an_issue() -> None:
    loop: dict[str, Any] = {"name": "x", "blocks": []}
    loop["layout"] = loop
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]

    assert any("too deep" in str(issue) for issue in validate(loop))
    assert any("too deep" in str(issue) for issue in validate({"name": "x", "blocks": deep}))


WORDS = (
    "name blocks type config gates heal samples constraints user_prompt json_schema part pattern entropy "
    "kind temperatures max_attempts required_fields field_name properties required items $ref "
    "max_total_tokens examples temperature min_length max_length forbidden_words source model blame"
)

KEYS = st.sampled_from(WORDS.split(" "))

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 10**20)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(
        [
            "TextGenerator",
            "StructuredGenerator",
            "MarkdownMultiplierBlock",
            "JSONValidatorBlock",
            "ValidatorBlock",
            "RegexGate",
            "JSONFieldsGate",
            "SimilarityGate",
            "{{ x }}",
            "{% if %}",
            "object",
            "generated.title",
            "ramp",
        ]
    )
)

TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=25,
)

STEPS = st.fixed_dictionaries(
    {"type": st.sampled_from(["TextGenerator", "StructuredGenerator", "JSONValidatorBlock", "RougeScore"])},
    optional={
        "config": TREES,
        "gates": st.lists(st.fixed_dictionaries({"type": SCALARS}, optional={"config": TREES})),
        "heal": TREES,
        "samples": SCALARS,
    },
)


@settings(max_examples=150, deadline=None)
@given(
    TREES | st.fixed_dictionaries({"name": st.just("x"), "blocks": st.lists(STEPS | TREES, max_size=4)}),
    st.none() | st.lists(st.dictionaries(KEYS, SCALARS, max_size=4), max_size=3),
)
def test_no_data_makes_the_validation_crash(definition: Any, seeds: list[dict[str, Any]] | None) -> None:
    issues = validate(definition, seeds=seeds)

    assert all(str(issue) for issue in issues)
    if isinstance(definition, dict) and not [issue for issue in issues if issue.severity == "error"]:
        Pipeline.load_from_dict(definition)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab:-[]{}&*!\"'|>#,?%@\n\t 01~<.", max_size=60) | TREES.map(yaml.safe_dump))
def test_no_text_makes_the_reader_crash(text: str) -> None:
    try:
        definition, source = load_definition(text + "\n")
    except PipelineError as error:
        assert error.message  # noqa: PT017 - either outcome is right
    else:
        validate(definition, source=source)
