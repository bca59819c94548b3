"""A dry run shows what a run would ask, without calling a model."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.jobs.dry_run import DryRun, Prompt, dry_run, estimate
from penstock.settings import Settings
from penstock.testing import ModelServer
from penstock.workflow import Pipeline
from support.runs import ASK, build

TEXT: dict[str, Any] = {
    "type": "TextGenerator",
    "config": {"user_prompt": "Write about {{ n }}.", "max_tokens": 100, "temperature": 0.2},
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["a", "b"]},
        "count": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "inner": {"type": ["object", "null"], "properties": {"ok": {"type": "boolean"}}},
        "fixed": {"const": 7},
        "strange": True,
    },
}


def structured(prompt: str) -> dict[str, Any]:
    """A step that asks for JSON."""
    return {"type": "StructuredGenerator", "config": {"json_schema": SCHEMA, "user_prompt": prompt}}


async def dry_run_of(pipeline: Pipeline, settings: Settings, **variables: Any) -> DryRun:
    """The dry run of one seed."""
    return await dry_run(pipeline, variables, settings)


async def test_every_call_is_listed_with_its_step_and_no_model_is_called(
    settings: Settings, model: ModelServer
) -> None:
    result = await dry_run_of(build(TEXT, structured("{{ assistant }}")), settings, n=3)

    first, second = result.prompts
    assert (first.step, first.block_type, first.model) == (1, "TextGenerator", "gpt-x")
    assert (first.temperature, first.max_tokens) == (0.2, 100)
    assert first.messages == [{"role": "user", "content": "Write about 3."}]
    assert (second.step, second.messages[-1]["content"]) == (2, "<answer of step 1>")
    assert result.stopped is None
    assert not model.requests


async def test_a_json_answer_has_the_structure_of_its_schema_so_that_later_prompts_can_be_shown(
    settings: Settings,
) -> None:
    fields = "{{ generated.kind }} {{ generated.count }} {{ generated.tags[0] }} {{ generated.inner.ok }}"
    later = {"type": "TextGenerator", "config": {"user_prompt": fields + " {{ generated.fixed }}"}}

    result = await dry_run_of(build(structured("go"), later), settings)

    assert result.prompts[1].messages[-1]["content"] == "a 0 … true 7"


async def test_gates_do_not_check_placeholders(settings: Settings) -> None:
    gate = {"type": "RegexGate", "config": {"part": "assistant", "pattern": "^never$"}}
    gated = {**TEXT, "gates": [gate], "heal": {"max_attempts": 4}}

    result = await dry_run_of(build(gated, ASK), settings, n=1)

    assert [prompt.step for prompt in result.prompts] == [1, 2]


async def test_a_step_that_fails_ends_the_list_and_says_why(settings: Settings) -> None:
    result = await dry_run_of(build(TEXT, "BoomBlock", TEXT), settings, n=1)

    assert len(result.prompts) == 1
    assert result.stopped == "Block 'BoomBlock' failed at step 2: Connection timeout"


async def test_a_missing_variable_is_named(settings: Settings) -> None:
    result = await dry_run_of(build(TEXT), settings, m=1)

    assert result.prompts == []
    assert result.stopped is not None
    assert "'n'" in result.stopped


async def test_a_multiplier_is_run_with_its_first_child(settings: Settings) -> None:
    words = {"type": "TextGenerator", "config": {"user_prompt": "{{ word }}"}}

    result = await dry_run_of(build("Split", words), settings, text="x y")
    without_text = await dry_run_of(build("Split", words), settings)

    assert [prompt.messages[-1]["content"] for prompt in result.prompts] == ["x"]
    assert without_text.stopped is not None


async def test_an_estimate_counts_calls_attempts_and_tokens(settings: Settings) -> None:
    pipeline = build({**TEXT, "heal": {"max_attempts": 3}}, {**ASK, "samples": 2})
    samples = [await dry_run_of(pipeline, settings, n=n) for n in range(4)]

    expected = estimate(pipeline, samples, 100, settings)

    assert expected.records == 100
    assert expected.calls == 300
    assert expected.most_calls == 500
    assert expected.input_tokens > 0
    assert expected.most_output_tokens == 100 * (100 + 512 + 512)
    assert expected.most_cost is None


async def test_an_estimate_of_a_priced_model_says_what_it_costs(settings: Settings) -> None:
    priced = {**TEXT, "config": {**TEXT["config"], "model": "openai/gpt-4o-mini"}}
    known = Settings(openai_api_key=settings.llm_api_key)
    samples = [await dry_run(build(priced), {"n": 1}, known)]

    expected = estimate(build(priced), samples, 1000, known)

    assert expected.most_cost is not None
    assert 0 < expected.most_cost < 1


@pytest.mark.parametrize("records", [0, 5])
def test_without_seeds_the_estimate_is_zero(settings: Settings, records: int) -> None:
    assert estimate(build(TEXT), [], records, settings).calls == 0


def prompt(*contents: str, max_tokens: int | None = None, step: int = 1) -> Prompt:
    """A call with these messages."""
    messages = [{"role": "user", "content": content} for content in contents]
    return Prompt(step, "TextGenerator", messages, "gpt-x", None, max_tokens)


def test_four_characters_are_one_token_and_an_empty_prompt_is_one() -> None:
    assert prompt("a" * 8, "b" * 4).input_tokens == 3
    assert prompt("a" * 7).input_tokens == 1
    assert prompt("").input_tokens == 1


def test_an_answer_without_a_limit_is_taken_to_have_512_tokens() -> None:
    assert prompt("q").output_tokens == 512
    assert prompt("q", max_tokens=7).output_tokens == 7


def test_an_estimate_multiplies_the_samples_up_to_all_records(settings: Settings) -> None:
    samples = [DryRun([prompt("a" * 40, max_tokens=10)]), DryRun([prompt("a" * 80, max_tokens=10)])]

    expected = estimate(build(TEXT), samples, 6, settings)

    assert (expected.calls, expected.most_calls) == (6, 6)
    assert (expected.input_tokens, expected.most_output_tokens) == (90, 60)


async def test_the_cost_is_that_of_the_longest_answers(settings: Settings) -> None:
    """gpt-4o-mini costs 0.15 dollars for a million tokens in and 0.60 for a million out."""
    known = Settings(openai_api_key=settings.llm_api_key)
    asked = prompt("a" * 4000, max_tokens=1000)
    asked.model = "openai/gpt-4o-mini"

    expected = estimate(build(TEXT), [DryRun([asked, asked])], 1000, known)

    assert expected.most_cost == pytest.approx(2 * (0.15 + 0.60))


async def test_a_call_to_a_model_of_its_own_names_that_model(settings: Settings) -> None:
    other = {**TEXT, "config": {**TEXT["config"], "model": "other/model"}}

    result = await dry_run_of(build(other, TEXT), settings, n=1)

    assert [call.model for call in result.prompts] == ["other/model", "gpt-x"]
