"""Random schemas: made or refused, and values validated or stopped, without another exception."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from hypothesis import strategies as st

from penstock.json_schema import SchemaError, TooMuchWorkError, compile_schema, find_meta_violation
from support.fuzzing import fuzzed

_NAMES = st.sampled_from(["a", "b", "c", "d"])
_REFERENCES = st.one_of(
    st.sampled_from(
        ["#", "#/$defs/a", "#/$defs/b", "#/$defs/c", "#/properties/a", "#x", "http://127.0.0.1:9/", "b"]
    ),
    st.text("#/$defab0~%:", max_size=8),
)
_PATTERNS = st.one_of(
    st.sampled_from(["^a", "(a+)+$", "(?=a)b", r"(a*)*\1", "(a{99}){99}", r"\w{9}", "(?<!b)a", "[", "é"]),
    st.text("ab()*+?{}[]|^$\\.19,", max_size=12),
)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats(allow_nan=False)
    | st.text("ab", max_size=40),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=40,
)


def _subschemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    many, named = st.lists(inner, max_size=3), st.dictionaries(_NAMES, inner, max_size=3)
    counts = st.integers(-1, 5)
    return st.fixed_dictionaries(
        {},
        optional={
            "$ref": _REFERENCES,
            "$dynamicRef": _REFERENCES,
            "$anchor": _NAMES,
            "$id": st.sampled_from(["b", "http://127.0.0.1:9/x", "file:///etc/"]),
            "type": st.sampled_from(["object", "array", "string", "number", "nope"]),
            "allOf": many,
            "anyOf": many,
            "oneOf": many,
            "not": inner,
            "if": inner,
            "then": inner,
            "items": inner | many,
            "prefixItems": many,
            "contains": inner,
            "uniqueItems": st.booleans(),
            "properties": named,
            "patternProperties": st.dictionaries(_PATTERNS, inner, max_size=2),
            "additionalProperties": inner,
            "unevaluatedProperties": inner,
            "propertyNames": inner,
            "dependentSchemas": named,
            "required": st.lists(_NAMES, max_size=2),
            "pattern": _PATTERNS,
            "format": st.sampled_from(["date", "email", "regex", "uri"]),
            "multipleOf": st.floats(1e-5, 1e5),
            "minLength": counts,
            "maxItems": counts,
            "enum": st.lists(_VALUES, max_size=2),
            "const": _VALUES,
        },
    )


_SCHEMAS = st.tuples(
    st.recursive(st.booleans(), _subschemas, max_leaves=12),
    st.dictionaries(_NAMES, st.just({}) | st.booleans()),
)
_DEFINITIONS = st.dictionaries(_NAMES, st.recursive(st.booleans(), _subschemas, max_leaves=4), max_size=3)


@fuzzed(_SCHEMAS, _DEFINITIONS, _VALUES, st.none() | st.text("htp:/draf-0751.#", max_size=20))
def test_a_schema_is_used_or_refused(
    drawn: tuple[Any, Any], definitions: dict[str, Any], value: Any, dialect: str | None
) -> None:
    schema, extra = drawn
    if isinstance(schema, dict):
        schema = {**schema, "$defs": {**extra, **definitions}, **({"$schema": dialect} if dialect else {})}
        with suppress(SchemaError):
            find_meta_violation(schema)
    try:
        validator = compile_schema(schema)
    except SchemaError:
        return
    used = time.thread_time()
    found = None
    with suppress(ValueError, TypeError, TooMuchWorkError):
        found = validator.find_at_once(value, 8)
    validator.accepts(value)
    assert time.thread_time() - used < 0.5

    if found is None:
        with suppress(ValueError, TypeError, TooMuchWorkError):
            found = validator.find_in_child(value, 8)
    assert found is None or len(found) <= 8
