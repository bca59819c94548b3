"""What the structured generator sends, and what it makes of the answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from penstock import llm
from penstock.blocks.builtin.structured_generator import StructuredGenerator
from penstock.blocks.builtin.text_generator import TextGenerator
from penstock.entities import Attempt, Finding, Target
from penstock.errors import BadInputError
from penstock.settings import Settings
from penstock.testing import ModelServer, Reply

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


@pytest.mark.row("D11")
@pytest.mark.parametrize(
    ("config", "state", "asked"),
    [
        ("from {{ x }}", {"user_prompt": "not this", "x": "config"}, "from config"),
        ("", {"user_prompt": "from the {{ x }}", "user": "not this", "x": "state"}, "from the state"),
        (" \n", {"user_prompt": "from the state"}, "from the state"),
    ],
)
async def test_an_empty_user_prompt_is_read_from_the_field_user_prompt(
    model: ModelServer, config: str, state: dict[str, Any], asked: str
) -> None:
    await StructuredGenerator(SCHEMA, user_prompt=config).execute(state)

    assert model.asked == [[asked]]


@pytest.mark.row("D11", "A79")
async def test_the_field_of_the_text_generator_is_not_read(model: ModelServer) -> None:
    with pytest.raises(BadInputError, match="a field 'user_prompt'"):
        await StructuredGenerator(SCHEMA).execute({"user": "hi"})

    assert model.requests == []


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
async def test_an_answer_that_is_not_an_object_is_kept_as_text(model: ModelServer, text: str) -> None:
    model.then(text)

    result = await StructuredGenerator(SCHEMA, user_prompt="x").execute({})

    assert result == {"generated": {"raw_response": text}}


@pytest.mark.row("A88")
async def test_an_answer_that_was_cut_off_is_kept_as_text_unless_it_is_complete(model: ModelServer) -> None:
    model.then(
        Reply('{"title": "Half of', finish_reason="length"), Reply('{"title": "T"}', finish_reason="length")
    )
    block = StructuredGenerator(SCHEMA, user_prompt="x")

    cut, whole = await block.execute({}), await block.execute({"other": 1})

    assert cut == {"generated": {"raw_response": '{"title": "Half of'}}
    assert whole == {"generated": {"title": "T"}}


async def test_a_schema_may_ask_for_another_type_than_object(model: ModelServer) -> None:
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
async def test_a_second_attempt_shows_the_previous_json_and_its_problems(
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


def test_a_structured_generator_declares_the_schema_of_its_output() -> None:
    assert StructuredGenerator.expects_schema({"json_schema": SCHEMA}) == SCHEMA
    assert StructuredGenerator.expects_schema({}) is None
    assert TextGenerator.expects_schema({}) is None
