"""How large a schema is when its references are followed."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.errors import DefinitionError
from penstock.gates.builtin.json_schema import JSONSchemaGate
from penstock.json_schema import SchemaError, compile_schema
from penstock.json_schema.structure import measure


def doubling(n: int, keyword: str = "allOf", inner: Any = None) -> dict[str, Any]:
    """A schema that applies its last definition 2 ** n times to one value."""

    def twice(name: str) -> Any:
        return {keyword: [{"$ref": f"#/$defs/{name}"}] * 2}

    definitions = {f"a{i}": twice(f"a{i + 1}") for i in range(n)}
    return {"$ref": "#/$defs/a0", "$defs": {**definitions, f"a{n}": inner or {"type": "object"}}}


def by_anchor(n: int, keyword: str) -> dict[str, Any]:
    definitions = {
        f"a{i}": {"$anchor": f"n{i}", "$dynamicAnchor": f"d{i}", "anyOf": [{keyword: f"#{x}{i + 1}"}] * 2}
        for i in range(n)
        for x in ("d" if keyword == "$dynamicRef" else "n")
    }
    last = {"$anchor": f"n{n}", "$dynamicAnchor": f"d{n}"}
    return {"$ref": "#/$defs/a0", "$defs": {**definitions, "last": last}}


def by_identifier(n: int) -> dict[str, Any]:
    definitions = {f"a{i}": {"$id": f"a{i}", "oneOf": [{"$ref": f"a{i + 1}"}] * 2} for i in range(n)}
    return {"$ref": "a0", "$defs": {**definitions, f"a{n}": {"$id": f"a{n}"}}}


def nested_lists(n: int) -> dict[str, Any]:
    shared: dict[str, Any] = {"type": "object"}
    for _ in range(n):
        shared = {"properties": {"a": shared, "b": shared}}  # as YAML's anchors make it
    return shared


@pytest.mark.parametrize(
    "schema",
    [
        doubling(28),
        doubling(60),
        doubling(1000),
        doubling(28, "anyOf"),
        doubling(28, "oneOf"),
        doubling(28, "prefixItems"),
        doubling(28, inner={"$ref": "#/$defs/self", "$defs": {}}),
        by_anchor(28, "$ref"),
        by_anchor(28, "$dynamicRef"),
        by_identifier(28),
        nested_lists(14),
        {"$schema": "http://json-schema.org/draft-07/schema#", "allOf": [doubling(28)], **doubling(28)},
    ],
)
def test_a_schema_whose_references_double_is_refused_when_the_gate_is_made(schema: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match=r"json_schema (unfolds|is not a usable|has more than)"):
        JSONSchemaGate(schema)


def test_a_schema_that_holds_the_same_part_many_times_is_refused_before_it_is_written_out() -> None:
    with pytest.raises(SchemaError, match="more than 200,000 values"):
        compile_schema(nested_lists(100))


def test_the_refusal_says_what_to_change() -> None:
    with pytest.raises(SchemaError, match=r"unfolds to more than 100,000 subschemas .*; refer to"):
        compile_schema(doubling(28))


def test_a_schema_that_refers_to_itself_is_counted_once() -> None:
    tree = {"type": "object", "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}}

    found = measure(tree)

    assert found.is_recursive
    assert found.unfolded == 3


def test_definitions_that_all_refer_to_each_other_are_allowed() -> None:
    names = [f"t{i}" for i in range(60)]
    any_of_them = [{"$ref": f"#/$defs/{name}"} for name in names]
    definition = {"type": "object", "properties": {"child": {"anyOf": any_of_them}}}
    grammar = {"$ref": "#/$defs/t0", "$defs": dict.fromkeys(names, definition)}

    assert compile_schema(grammar).structure.is_recursive


def test_a_long_chain_of_references_is_measured_without_recursion() -> None:
    chain = {f"a{i}": {"$ref": f"#/$defs/a{i + 1}"} for i in range(4_000)}
    schema = {"$ref": "#/$defs/a0", "$defs": {**chain, "a4000": {"type": "object"}}}

    assert compile_schema(schema).accepts({})


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}]},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        {"not": {"$ref": "#"}},
        {"if": {"$ref": "#"}},
        {"propertyNames": {"$ref": "#"}},
        {"dependentSchemas": {"a": {"$ref": "#"}}},
        {"$dynamicAnchor": "x", "allOf": [{"$dynamicRef": "#x"}]},
        {"$ref": "https://json-schema.org/draft/2020-12/schema"},
    ],
)
def test_references_in_a_circle_are_known_to_be_recursive_or_unclear(schema: dict[str, Any]) -> None:
    found = measure(schema)

    assert found.is_recursive or found.is_unclear


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {f"p{i}": {"type": "string"} for i in range(20_000)}},
        {"allOf": [{"maxLength": i} for i in range(20_000)]},
        {"patternProperties": {f"^p{i}": {} for i in range(3_000)}},
        {"enum": ["x" * 100] * 50_000},
    ],
)
def test_a_huge_schema_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(SchemaError, match="write a smaller one"):
        compile_schema(schema)


def test_a_schema_that_is_nested_too_deeply_is_refused_in_our_words() -> None:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(3_000):
        schema = {"properties": {"a": schema}}

    with pytest.raises(SchemaError, match="nested too deeply"):
        compile_schema(schema)


@pytest.mark.parametrize("pattern", ["^[a-z]+$", r"\d{4}-\d{2}", "(?:ab)*", "(a+)+$"])
def test_patterns_without_backtracking_are_clear(pattern: str) -> None:
    assert not measure({"pattern": pattern}).is_unclear


@pytest.mark.parametrize(
    "pattern", ["(?=a)", r"(a+)\1", "(?<!x)a", "(?>a)", "a++", r"(\w{50}){50}", "a" * 500]
)
def test_patterns_that_may_backtrack_are_unclear(pattern: str) -> None:
    assert measure({"pattern": pattern}).is_unclear
    assert measure({"patternProperties": {pattern: {}}}).is_unclear
