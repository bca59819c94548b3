"""Fields that steps read: from the seeds, from earlier steps, from nowhere."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.workflow.definition import load_definition
from penstock.workflow.validation import required_variables
from support.trial_definitions import STRUCTURED, TEXT, find_issues, steps


def test_a_seed_that_lacks_a_variable_is_named() -> None:
    issues = find_issues(steps(TEXT), seeds=[{"topic": "x"}, {}])

    assert ["seed 2 does not have" in str(issue) for issue in issues] == [True]


@pytest.mark.row("A76", "A122")
def test_a_prompt_in_a_seed_is_checked_as_a_template() -> None:
    seeds = [{"user": "Explain {{ topic }} to {{ role }}.", "topic": "x"}]

    (issue,) = find_issues(steps("type: TextGenerator"), seeds=seeds)

    assert "Seed 1's 'user'" in issue.message
    assert "'role'" in issue.message
    assert find_issues(steps("type: TextGenerator"), seeds=[{**seeds[0], "role": "me"}]) == []


@pytest.mark.row("A37", "A90")
def test_a_multipliers_chunk_has_the_seeds_fields_except_the_document() -> None:
    text = steps(
        "type: MarkdownMultiplierBlock",
        ("{type: TextGenerator, config: {user_prompt: '{{ content }} {{ chunk_index }} {{ author }}'}}"),
    )

    assert find_issues(text, seeds=[{"file_content": "# A", "author": "me"}]) == []
    assert required_variables(load_definition(text)[0]) == ["author", "file_content"]


def test_without_seeds_a_field_made_later_is_a_warning_and_a_required_variable() -> None:
    text = steps("{type: TextGenerator, config: {user_prompt: '{{ generated }} {{ topic }}'}}", STRUCTURED)

    (issue,) = find_issues(text, seeds=None)

    assert (issue.step, issue.severity) == (1, "warning")
    assert required_variables(load_definition(text)[0]) == ["content", "generated", "topic"]


@pytest.mark.parametrize(
    ("seed", "field"),
    [
        ({"a": {"b": "x"}}, "a.b"),
        ({"a.b": "x"}, "a.b"),
        ({"a.b": {"c": "x"}}, "a.b.c"),
    ],
)
def test_a_path_is_found_in_a_seed_as_a_block_would_find_it(seed: dict[str, Any], field: str) -> None:
    text = steps(TEXT, "{type: DiversityScore, config: {field_name: " + field + "}}")

    assert find_issues(text, seeds=[{"topic": "x", **seed}]) == []


def test_a_path_in_what_the_multiplier_takes_away_is_an_issue() -> None:
    text = steps(
        "type: MarkdownMultiplierBlock", "{type: DiversityScore, config: {field_name: file_content.title}}"
    )

    (issue,) = find_issues(text, seeds=[{"file_content": {"title": "x"}}])

    assert "which the multiplier has taken apart" in issue.message


def test_a_variable_of_a_seed_that_is_called_metadata_is_what_templates_read_under_that_name() -> None:
    text = steps("{type: TextGenerator, config: {user_prompt: '{{ metadata.source }}'}}")

    assert find_issues(text, seeds=[{"text": "x", "metadata": {"source": "a.txt"}}]) == []
    for seed in ({"source": "x", "metadata": {}}, {"source": "x", "metadata": "note"}):
        assert ["'metadata.source'" in issue.message for issue in find_issues(text, seeds=[seed])] == [True]
