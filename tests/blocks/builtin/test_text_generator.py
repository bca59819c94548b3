"""What the text generator sends, and what it makes of the answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from penstock import llm
from penstock.blocks.builtin.structured_generator import StructuredGenerator
from penstock.blocks.builtin.text_generator import TextGenerator
from penstock.entities import Attempt, ExecutionResult, Finding, Target
from penstock.errors import BadInputError, TemplateError
from penstock.settings import Settings
from penstock.testing import ModelServer
from penstock.workflow import Pipeline

SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string"}},
    "required": ["title"],
    "additionalProperties": False,
}


@pytest.fixture(autouse=True)
async def _client(settings: Settings) -> AsyncIterator[None]:
    """Let blocks ask the scripted model."""
    async with llm.Client(settings) as client:
        with llm.use_client(client):
            yield


def attempt(**targets: Target) -> Attempt:
    """A second attempt at these parts; ``__`` in a name stands for a dot."""
    return Attempt(2, {part.replace("__", "."): target for part, target in targets.items()})


@pytest.mark.row("A76", "A77", "A81", "A122", "D10")
async def test_prompts_come_from_the_state_as_templates(model: ModelServer) -> None:
    state = {"system": "You are {{ topic }}", "user": "hi {{ metadata.name }}", "topic": "abc", "name": "x"}

    result = await TextGenerator().execute(state)

    assert result == {"assistant": "echo: hi x", "system": "You are abc", "user": "hi x"}
    assert model.bodies[0]["messages"] == [
        {"role": "system", "content": "You are abc"},
        {"role": "user", "content": "hi x"},
    ]


@pytest.mark.row("A81")
@pytest.mark.parametrize(
    "text",
    [
        "  padded \n",
        "two\nlines\r\n",
        "```json\n{}\n```",
        "",
        '{"a": 1}',
        "{{ user }}",
        "5",
        "ü 漢 \U0001f642",
    ],
)
async def test_the_answer_is_the_text_of_the_provider_unchanged(model: ModelServer, text: str) -> None:
    model.then(text)

    result = await TextGenerator(user_prompt="hi").execute({})

    assert result["assistant"] == text


@pytest.mark.row("D10")
@pytest.mark.parametrize("prompt", ["{{ name }}", "{{ metadata.name }}"])
async def test_a_field_of_the_seed_is_known_by_its_name_and_under_metadata(
    model: ModelServer, prompt: str
) -> None:
    await TextGenerator(user_prompt=prompt).execute({"name": "Ada"})

    assert model.asked == [["Ada"]]


@pytest.mark.row("A122", "A124")
async def test_the_physics_seed_is_rendered_when_it_is_used() -> None:
    seed = {
        "system": "You are a {{ role }} who specializes in {{ domain }}.",
        "user": "Explain {{ topic }} in simple terms.",
        "role": "teacher",
        "domain": "physics",
        "topic": "gravity",
    }

    result = await TextGenerator().execute(seed)

    assert result["system"] == "You are a teacher who specializes in physics."
    assert result["assistant"] == "echo: Explain gravity in simple terms."
    assert not any("{{" in value for value in result.values())


ASK = {"type": "TextGenerator", "config": {}}
HUGO = (
    """Use {{< ref "page.md" >}}, {{% note %}}, {{ .Site.Title }} and {{ user.name }}: {{ 7*7 }} {# no #}"""
)


def two_steps(first: dict[str, Any], *others: dict[str, Any]) -> Pipeline:
    steps = [{"type": "TextGenerator", "config": first}, *(others or (ASK,))]
    return Pipeline("Two", steps)


@pytest.mark.parametrize("text", ["{{ 7*7 }}", "{{ user.name }}", "{% if %}", HUGO])
@pytest.mark.parametrize("prompt", ["system", "user"])
async def test_a_prompt_that_was_rendered_is_data_for_the_steps_that_follow(
    model: ModelServer, prompt: str, text: str
) -> None:  # fault 5
    pipeline = two_steps({"user_prompt": "Q", f"{prompt}_prompt": "It says: {{ persona }}"}, ASK, ASK)

    made = await pipeline.execute({"persona": text})

    assert isinstance(made, ExecutionResult)
    assert made.result[prompt] == f"It says: {text}"
    assert len(model.asked) == 3
    assert all(f"It says: {text}" in asked for asked in model.asked)


async def test_a_seeds_own_prompt_that_a_step_was_told_to_send_as_it_is_stays_as_it_is(
    model: ModelServer,
) -> None:
    await two_steps({"system_prompt": "{{ system }}", "user_prompt": "Q"}).execute({"system": HUGO})

    assert model.asked == [[HUGO, "Q"], [HUGO, "Q"]]


async def test_a_seeds_own_prompt_is_a_template_until_a_step_has_rendered_it(model: ModelServer) -> None:
    seed = {"system": "You are {{ who }}", "user": "Q", "who": "one who loves {{ 7*7 }}"}

    await two_steps({}).execute(seed)

    assert model.asked == [["You are one who loves {{ 7*7 }}", "Q"]] * 2


async def test_a_prompt_is_data_when_the_step_is_healed_or_its_output_is_pinned(model: ModelServer) -> None:
    healed = ASK | {
        "gates": [{"type": "LengthGate", "config": {"min_length": 999}}],
        "heal": {"max_attempts": 2},
    }
    pipeline = two_steps({"user_prompt": "{{ text }}"}, healed)

    await pipeline.run([{"text": "{{ 7*7 }}"}])
    pinned = await pipeline.preview(
        {}, pins={1: {"assistant": "x", "system": "", "user": "{{ 8*8 }}"}}, up_to=2
    )

    assert [asked[0] for asked in model.asked] == ["{{ 7*7 }}"] * 3 + ["{{ 8*8 }}"] * 2
    assert pinned.outcome.error is not None  # the gate's


@pytest.mark.row("A76", "A120")
async def test_a_template_in_a_seed_that_cannot_be_used_is_told_with_what_to_write() -> None:
    with pytest.raises(
        TemplateError, match=r"^template syntax error at line 1: .* write '\{\{ system \}\}' as"
    ):
        await TextGenerator(user_prompt="Q").execute({"system": HUGO})


@pytest.mark.row("A76")
async def test_a_prompt_in_the_config_wins(model: ModelServer) -> None:
    block = TextGenerator(system_prompt="config {{ x }}", user_prompt="config user")

    result = await block.execute({"system": "state", "user": "state", "x": 1})

    assert (result["system"], result["user"]) == ("config 1", "config user")


@pytest.mark.row("A78")
@pytest.mark.parametrize("system", ["", "  \n", "{{ '' }}", None])
async def test_an_empty_system_prompt_is_not_sent(model: ModelServer, system: str | None) -> None:
    result = await TextGenerator(user_prompt="hi").execute({"system": system})

    assert result["system"] == ""
    assert model.bodies[0]["messages"] == [{"role": "user", "content": "hi"}]


@pytest.mark.row("A79")
@pytest.mark.parametrize("block", [TextGenerator(), StructuredGenerator(SCHEMA)])
@pytest.mark.parametrize("state", [{}, {"user": "", "user_prompt": " "}, {"user": None, "user_prompt": None}])
async def test_without_a_prompt_nothing_is_asked(
    model: ModelServer, block: TextGenerator | StructuredGenerator, state: dict[str, Any]
) -> None:
    with pytest.raises(BadInputError, match="no prompt"):
        await block.execute(state)

    assert model.requests == []


@pytest.mark.row("A75", "A80")
async def test_settings_reach_the_provider(model: ModelServer) -> None:
    await TextGenerator(user_prompt="a").execute({})
    await TextGenerator("gpt-y", 0, 5, user_prompt="b").execute({})
    await StructuredGenerator(SCHEMA, "gpt-z", 1.5, 9, "c").execute({})

    sent = [(body["model"], body["temperature"], body["max_tokens"]) for body in model.bodies]
    assert sent == [("gpt-x", 0.7, 2048), ("gpt-y", 0, 5), ("gpt-z", 1.5, 9)]


@pytest.mark.parametrize("value", [5, True, 1.5, ["a", {"b": 1}], {"c": None}, "{{", "{ \x00 }"])
async def test_a_prompt_of_any_kind_is_sent_as_text_or_refused(model: ModelServer, value: Any) -> None:
    try:
        result = await TextGenerator().execute({"user": value})
    except TemplateError:
        assert value == "{{"  # the one value that is no template
    else:
        assert result["assistant"] == f"echo: {result['user']}"


@pytest.mark.row("A119", "A120", "A125")
@pytest.mark.parametrize("prompt", ["{{ nope }}", "{% if %}", "{{ cycler.__init__ }}"])
async def test_a_prompt_that_cannot_be_rendered_asks_nothing(model: ModelServer, prompt: str) -> None:
    with pytest.raises(TemplateError):
        await TextGenerator(user_prompt=prompt).execute({})

    assert model.requests == []


async def test_a_second_attempt_shows_the_previous_answer_and_its_problems(model: ModelServer) -> None:
    findings = (Finding("assistant", "too short"), Finding("assistant", "no question mark"))
    target = Target(0.4, (*findings, findings[0]), previous="Hm.")

    result = await TextGenerator(user_prompt="Ask.", system_prompt="S").regenerate(
        {}, attempt(assistant=target)
    )

    assert model.asked == [["S", "Ask.", "Hm.", "Fix these problems:\ntoo short\nno question mark"]]
    assert [message["role"] for message in model.bodies[0]["messages"]] == [
        "system",
        "user",
        "assistant",
        "user",
    ]
    assert model.bodies[0]["temperature"] == 0.4
    assert set(result) == {"assistant", "system", "user"}


async def test_after_an_empty_answer_user_and_assistant_turns_still_alternate(model: ModelServer) -> None:
    target = Target(0.1, (Finding("assistant", "it is empty"),), previous="")

    await TextGenerator(user_prompt="Ask.").regenerate({}, attempt(assistant=target))

    assert model.asked == [["Ask.\n\nFix these problems:\nit is empty"]]


async def test_without_findings_a_second_attempt_sends_the_same_messages(model: ModelServer) -> None:
    await TextGenerator(user_prompt="Ask.").regenerate({}, Attempt(1, {"assistant": Target(0.9)}))
    await StructuredGenerator(SCHEMA, user_prompt="Ask.").regenerate(
        {}, Attempt(1, {"generated": Target(0.9)})
    )

    assert model.asked == [["Ask."], ["Ask."]]
    assert [body["temperature"] for body in model.bodies] == [0.9, 0.9]


async def test_previous_answer_and_problems_are_shortened(model: ModelServer) -> None:
    findings = tuple(Finding("assistant", f"{number} " + "x" * 10_000) for number in range(1_000))
    target = Target(0.1, findings, previous="y" * 1_000_000)

    await TextGenerator(user_prompt="Ask.").regenerate({}, attempt(assistant=target))

    assert sum(map(len, model.asked[0])) < 20_000
