"""The blocks that ask a model: what they send, and what they make of the answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from penstock import llm
from penstock.blocks.builtin.structured_generator import StructuredGenerator
from penstock.blocks.builtin.text_generator import TextGenerator
from penstock.entities import Attempt, Finding, Target
from penstock.errors import BadInputError, TemplateError
from penstock.settings import Settings
from support.model_server import ModelServer, Reply

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


@pytest.mark.row("A76", "A77", "A81", "A122")
async def test_prompts_come_from_the_state_as_templates(model: ModelServer) -> None:
    state = {"system": "You are {{ topic }}", "user": "hi {{ metadata.name }}", "topic": "abc", "name": "x"}

    result = await TextGenerator().execute(state)

    assert result == {"assistant": "echo: hi x", "system": "You are abc", "user": "hi x"}
    assert model.bodies[0]["messages"] == [
        {"role": "system", "content": "You are abc"},
        {"role": "user", "content": "hi x"},
    ]


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


async def test_asking_again_shows_the_answer_and_what_was_wrong_with_it(model: ModelServer) -> None:
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


async def test_asking_again_for_an_empty_answer_keeps_turns_alternating(model: ModelServer) -> None:
    target = Target(0.1, (Finding("assistant", "it is empty"),), previous="")

    await TextGenerator(user_prompt="Ask.").regenerate({}, attempt(assistant=target))

    assert model.asked == [["Ask.\n\nFix these problems:\nit is empty"]]


async def test_without_findings_asking_again_is_just_asking(model: ModelServer) -> None:
    await TextGenerator(user_prompt="Ask.").regenerate({}, Attempt(1, {"assistant": Target(0.9)}))
    await StructuredGenerator(SCHEMA, user_prompt="Ask.").regenerate(
        {}, Attempt(1, {"generated": Target(0.9)})
    )

    assert model.asked == [["Ask."], ["Ask."]]
    assert [body["temperature"] for body in model.bodies] == [0.9, 0.9]


async def test_what_the_model_is_told_is_bounded(model: ModelServer) -> None:
    findings = tuple(Finding("assistant", f"{number} " + "x" * 10_000) for number in range(1_000))
    target = Target(0.1, findings, previous="y" * 1_000_000)

    await TextGenerator(user_prompt="Ask.").regenerate({}, attempt(assistant=target))

    assert sum(map(len, model.asked[0])) < 20_000


@pytest.mark.row("A85", "A89")
async def test_a_schema_is_sent_as_response_format(model: ModelServer) -> None:
    model.then('{"title": "T"}')

    result = await StructuredGenerator(SCHEMA).execute({"user_prompt": "About {{ x }}", "x": "tea"})

    assert result == {"generated": {"title": "T"}}
    assert model.asked == [["About tea"]]
    assert model.bodies[0]["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "response", "schema": SCHEMA, "strict": True},
    }


@pytest.mark.row("A86")
async def test_a_provider_that_knows_no_schemas_is_asked_for_any_json(model: ModelServer) -> None:
    model.refused_formats = {"json_schema"}
    model.then('{"title": "T"}')

    result = await StructuredGenerator(SCHEMA, user_prompt="x").execute({})

    assert result == {"generated": {"title": "T"}}
    assert [body["response_format"]["type"] for body in model.bodies] == ["json_schema", "json_object"]


@pytest.mark.row("A87")
async def test_fenced_json_is_read(model: ModelServer) -> None:
    model.then('```json\n{"title": "T"}\n```')

    result = await StructuredGenerator(SCHEMA, user_prompt="x").execute({})

    assert result == {"generated": {"title": "T"}}


@pytest.mark.row("A88")
@pytest.mark.parametrize("text", ["no JSON here", "", "5", '"text"', "null", "[1, 2]"])
async def test_an_answer_that_is_no_object_is_kept_as_text(model: ModelServer, text: str) -> None:
    model.then(text)

    result = await StructuredGenerator(SCHEMA, user_prompt="x").execute({})

    assert result == {"generated": {"raw_response": text}}


@pytest.mark.row("A88")
async def test_an_answer_that_was_cut_off_is_not_taken_for_a_whole_one(model: ModelServer) -> None:
    model.then(
        Reply('{"title": "Half of', finish_reason="length"), Reply('{"title": "T"}', finish_reason="length")
    )
    block = StructuredGenerator(SCHEMA, user_prompt="x")

    cut, whole = await block.execute({}), await block.execute({"other": 1})

    assert cut == {"generated": {"raw_response": '{"title": "Half of'}}
    assert whole == {"generated": {"title": "T"}}


async def test_a_schema_of_another_type_than_object_is_honoured(model: ModelServer) -> None:
    model.then("[1, 2]")

    result = await StructuredGenerator({"type": "array"}, user_prompt="x").execute({})

    assert result == {"generated": [1, 2]}


async def test_examples_are_shown_before_the_question(model: ModelServer) -> None:
    block = StructuredGenerator(
        SCHEMA,
        user_prompt="Title of {{ text }}",
        system_prompt="Be {{ how }}.",
        examples=[
            {"user": "Title of tea ({{ how }})", "assistant": {"title": "Tee ü"}},
            {"user": "Title of milk", "assistant": '{"title": "{{ Milk }}"}'},
        ],
    )

    await block.execute({"text": "honey", "how": "brief"})

    assert model.asked == [
        [
            "Be brief.",
            "Title of tea (brief)",
            '{"title": "Tee ü"}',
            "Title of milk",
            '{"title": "{{ Milk }}"}',
            "Title of honey",
        ]
    ]


@pytest.mark.parametrize(
    ("targets", "answer", "request_"),
    [
        (
            {"generated": Target(0.2, (Finding("generated", "title is missing"),), {"name": "x"})},
            '{"name": "x"}',
            "Fix these problems:\ntitle is missing",
        ),
        (
            {"generated": Target(0.2, (Finding("generated", "this is no JSON"),), {"raw_response": "Well…"})},
            "Well…",
            "Fix these problems:\nthis is no JSON",
        ),
        (
            {
                "generated__a__b": Target(0.1, (Finding("generated.a.b", "it is too long"),), "xxx"),
                "generated__c": Target(0.2, (Finding("generated.c", "c must be a number"),), "y"),
            },
            '{"a": {"b": "xxx"}, "c": "y"}',
            "Fix these problems:\na.b: it is too long\nc must be a number",
        ),
        (
            {"generated__qs__1__text": Target(0.2, (Finding("generated.qs.1.text", "no question"),), "x")},
            '{"qs": [{"text": "x"}]}',
            "Fix these problems:\nqs.1.text: no question",
        ),
        (
            {
                "generated__a": Target(0.1, (Finding("generated.a", "wrong"),), "text"),
                "generated__a__b": Target(0.2, (Finding("generated.a.b", "wrong"),), "y"),
            },
            '{"a": "text"}',
            "Fix these problems:\na: wrong\na.b: wrong",
        ),
    ],
)
async def test_json_is_asked_for_again_with_its_faults(
    model: ModelServer, targets: dict[str, Target], answer: str, request_: str
) -> None:
    await StructuredGenerator(SCHEMA, user_prompt="x").regenerate({}, attempt(**targets))

    assert model.asked == [["x", answer, request_]]
    assert model.bodies[0]["temperature"] == 0.2


async def test_feedback_can_be_turned_off(model: ModelServer) -> None:
    target = Target(0.5, (Finding("generated", "wrong"),), {"name": "x"})

    await StructuredGenerator(SCHEMA, user_prompt="x", feedback=False).regenerate(
        {}, attempt(generated=target)
    )

    assert model.asked == [["x"]]
    assert model.bodies[0]["temperature"] == 0.5


def test_a_structured_generator_says_what_schema_it_promises() -> None:
    assert StructuredGenerator.expects_schema({"json_schema": SCHEMA}) == SCHEMA
    assert StructuredGenerator.expects_schema({}) is None
    assert TextGenerator.expects_schema({}) is None
