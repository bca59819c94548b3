"""What a run would ask, told without asking."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.jobs.dry_run import DryRun, dry_run, estimate
from penstock.settings import Settings
from penstock.workflow import Pipeline
from support.model_server import ModelServer
from support.runs import ASK, build

TEXT: dict[str, Any] = {
    "type": "TextGenerator",
    "config": {"user_prompt": "Tell of {{ n }}.", "max_tokens": 100, "temperature": 0.2},
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


async def prompts_of(pipeline: Pipeline, settings: Settings, **variables: Any) -> DryRun:
    """The rehearsal of one seed."""
    return await dry_run(pipeline, variables, settings)


async def test_every_call_is_told_with_its_step_and_nobody_is_asked(
    settings: Settings, model: ModelServer
) -> None:
    made = await prompts_of(build(TEXT, structured("{{ assistant }}")), settings, n=3)

    first, second = made.prompts
    assert (first.step, first.block_type, first.model) == (1, "TextGenerator", "gpt-x")
    assert (first.temperature, first.max_tokens) == (0.2, 100)
    assert first.messages == [{"role": "user", "content": "Tell of 3."}]
    assert (second.step, second.messages[-1]["content"]) == (2, "<answer of step 1>")
    assert made.stopped is None
    assert not model.requests


async def test_an_answer_in_json_looks_like_its_schema_so_that_later_prompts_can_be_told(
    settings: Settings,
) -> None:
    told = "{{ generated.kind }} {{ generated.count }} {{ generated.tags[0] }} {{ generated.inner.ok }}"
    later = {"type": "TextGenerator", "config": {"user_prompt": told + " {{ generated.fixed }}"}}

    made = await prompts_of(build(structured("go"), later), settings)

    assert made.prompts[1].messages[-1]["content"] == "a 0 … True 7"


async def test_gates_are_not_asked_about_answers_that_nobody_gave(settings: Settings) -> None:
    gate = {"type": "RegexGate", "config": {"part": "assistant", "pattern": "^never$"}}
    held = {**TEXT, "gates": [gate], "heal": {"max_attempts": 4}}

    made = await prompts_of(build(held, ASK), settings, n=1)

    assert [prompt.step for prompt in made.prompts] == [1, 2]


async def test_a_step_that_fails_ends_what_can_be_foreseen(settings: Settings) -> None:
    made = await prompts_of(build(TEXT, "BoomBlock", TEXT), settings, n=1)

    assert len(made.prompts) == 1
    assert made.stopped == "Block 'BoomBlock' failed at step 2: Connection timeout"


async def test_a_missing_variable_is_told(settings: Settings) -> None:
    made = await prompts_of(build(TEXT), settings, m=1)

    assert made.prompts == []
    assert made.stopped is not None
    assert "'n'" in made.stopped


async def test_a_multiplier_is_rehearsed_with_its_first_child(settings: Settings) -> None:
    words = {"type": "TextGenerator", "config": {"user_prompt": "{{ word }}"}}

    made = await prompts_of(build("Split", words), settings, text="x y")
    nothing = await prompts_of(build("Split", words), settings)

    assert [prompt.messages[-1]["content"] for prompt in made.prompts] == ["x"]
    assert nothing.stopped is not None


async def test_an_estimate_counts_calls_attempts_and_tokens(settings: Settings) -> None:
    pipeline = build({**TEXT, "heal": {"max_attempts": 3}}, {**ASK, "samples": 2})
    rehearsals = [await prompts_of(pipeline, settings, n=n) for n in range(4)]

    expected = estimate(pipeline, rehearsals, 100, settings)

    assert expected.records == 100
    assert expected.calls == 300
    assert expected.most_calls == 500
    assert expected.input_tokens > 0
    assert expected.most_output_tokens == 100 * (100 + 512 + 512)
    assert expected.most_cost is None


async def test_an_estimate_of_a_priced_model_says_what_it_costs(settings: Settings) -> None:
    priced = {**TEXT, "config": {**TEXT["config"], "model": "openai/gpt-4o-mini"}}
    known = Settings(openai_api_key=settings.llm_api_key)
    rehearsals = [await dry_run(build(priced), {"n": 1}, known)]

    expected = estimate(build(priced), rehearsals, 1000, known)

    assert expected.most_cost is not None
    assert 0 < expected.most_cost < 1


@pytest.mark.parametrize("records", [0, 5])
def test_without_seeds_there_is_nothing_to_expect(settings: Settings, records: int) -> None:
    assert estimate(build(TEXT), [], records, settings).calls == 0
