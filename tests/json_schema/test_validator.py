"""Validation, at once or in a child process that can be stopped."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from penstock.entities import Parts
from penstock.errors import GateError
from penstock.gates.builtin.json_schema import JSONSchemaGate
from penstock.json_schema import TooMuchWorkError, compile_schema, in_child
from penstock.llm.structured_output import accepts
from penstock.stoppable import child_process

TREE = {
    "type": "object",
    "properties": {"child": {"$ref": "#"}, "name": {"type": "string"}},
    "additionalProperties": False,
}
DOUBLING_TREE = {
    "type": "object",
    "properties": {"a": {"allOf": [{"$ref": "#"}, {"$ref": "#"}], "type": "object"}},
    "required": ["a"],
}


def chain(depth: int, key: str, last: Any) -> Any:
    value = last
    for _ in range(depth):
        value = {key: value}
    return value


async def check(schema: dict[str, Any], value: Any) -> list[tuple[str, str]]:
    verdict = await JSONSchemaGate(schema).check(Parts({"generated": value}))
    return [(found.part, found.message) for found in verdict.findings]


async def test_a_recursive_schema_is_checked_in_the_child() -> None:
    assert compile_schema(TREE).find_at_once({}, 8) is None
    assert await check(TREE, {"child": {"name": "x"}}) == []
    assert sorted(await check(TREE, {"child": {"name": 5}, "name": 6, "more": 1})) == [
        ("generated", "the answer must not have 'more'"),
        ("generated.child", 'child.name is not of type "string"'),
        ("generated.name", 'name is not of type "string"'),
    ]
    assert JSONSchemaGate(TREE).look(Parts({"generated": {"child": {}}})).passed


async def test_a_check_that_takes_too_long_is_stopped_and_the_next_one_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(in_child.child, "seconds", 0.5)

    with pytest.raises(GateError, match=r"JSONSchemaGate could not run: it takes more than 0\.5 seconds"):
        await check(DOUBLING_TREE, chain(50, "a", {"a": {}}))

    monkeypatch.setattr(in_child.child, "seconds", 60)
    assert await check(TREE, {"child": {}}) == []


async def test_the_event_loop_turns_while_a_check_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_child.child, "seconds", 1.0)
    checking = asyncio.create_task(check(DOUBLING_TREE, chain(50, "a", {"a": {}})))

    turns = 0
    while not checking.done():
        await asyncio.sleep(0.01)
        turns += 1

    assert turns > 3
    assert isinstance(checking.exception(), GateError)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"items": {"allOf": [{"type": "string"}] * 100}}, ["x"] * 4_000),
        ({"items": {"anyOf": [{"maxLength": n} for n in range(100)]}}, ["x"] * 4_000),
        ({"uniqueItems": True}, [10**20 + n for n in range(300)]),
        ({"items": {"uniqueItems": True}}, [[n, 10**30 + n, 10**31] for n in range(1_000)]),
        ({"items": {"enum": [str(n) for n in range(1_000)]}}, ["5"] * 200),
        ({"pattern": "^[a-z]+$", "maxLength": 5}, "x" * 200_000),
        ({"pattern": r"^(?:(?=(a+))a)*b\1$"}, "a"),
        ({"contains": {"enum": list(range(2_000))}}, ["x"] * 100),
        (
            {"patternProperties": {f"{n}$": {"type": "null"} for n in range(90)}},
            {f"x{n}": 1 for n in range(999)},
        ),
    ],
)
def test_what_costs_much_is_not_done_in_the_event_loop(schema: dict[str, Any], value: Any) -> None:
    assert compile_schema(schema).find_at_once(value, 8) is None


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "object", "properties": {"a": {"type": "string"}}}, {"a": "x" * 100_000}),
        ({"items": {"type": "object", "required": ["a"]}}, [{"a": n} for n in range(2_000)]),
        ({"uniqueItems": True}, list(range(5_000))),
        ({"pattern": "^[a-z]+$"}, "x" * 1_000),
    ],
)
def test_ordinary_answers_are_checked_at_once(schema: dict[str, Any], value: Any) -> None:
    assert compile_schema(schema).find_at_once(value, 8) == []


async def test_large_answers_get_the_same_verdict_in_the_child() -> None:
    schema = {"items": {"allOf": [{"type": "string"}] * 100}}

    assert await check(schema, ["x"] * 4_000) == []
    assert await check(schema, ["x"] * 4_000 + [1]) == [("generated.4000", '4000 is not of type "string"')]
    assert await check({"uniqueItems": True}, [10**20] * 300) == [
        ("generated", "the answer has non-unique elements")
    ]


async def test_a_value_that_is_no_json_is_a_finding_in_the_child_too() -> None:
    for value in ({"child": chain(5_000, "child", {})}, {"name": {1, 2}}, {"child": object()}):
        ((part, message),) = await check(TREE, value)

        assert part == "generated"
        assert message.startswith("the answer is not JSON")


async def test_a_child_that_was_killed_is_replaced() -> None:
    assert await check(TREE, {}) == []
    process = in_child.child._process
    assert process is not None
    process.kill()
    process.wait()

    assert await check(TREE, {}) == []


def test_the_child_has_no_keys() -> None:
    assert not any("KEY" in name or "TOKEN" in name for name in child_process._KEPT)


def test_a_pattern_that_backtracks_too_often_is_no_verdict() -> None:
    with pytest.raises(TooMuchWorkError):
        compile_schema({"pattern": r"^(?:(?=(a+))a?a?)*b\1$"}).find_in_any_time("a" * 40 + "c", 8)


def test_an_answer_that_is_a_lot_of_work_is_not_accepted_in_the_event_loop() -> None:
    assert accepts({"type": "string", "pattern": "^(?!no)"}, "yes")
    assert not accepts({"type": "string", "pattern": "^(?!no)"}, "no")
    assert not accepts({"type": "string", "pattern": "^(?!no)"}, "yes" * 1_000)
    assert not accepts(TREE, {})
