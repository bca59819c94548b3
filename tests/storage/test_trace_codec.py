"""A trace that is packed and unpacked is the same trace."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.entities import Usage
from penstock.errors import StorageError
from penstock.serialization import from_json, is_same_json, to_json
from penstock.storage.trace_codec import (
    _CALL,
    pack_trace,
    unpack_changes,
    unpack_state,
    unpack_trace,
)

_keys = st.sampled_from(["a", "b", "c", "assistant", "pipeline_output", "$same", "$removed", "$$x", ""])
_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from([0, 1, 0.0, -0.0, 1.0, True, False, "long " * 20, "\ud800", "\x00"]),
)
_values = st.recursive(
    _scalars,
    lambda deeper: st.lists(deeper, max_size=2) | st.dictionaries(_keys, deeper, max_size=2),
    max_leaves=4,
)
_states = st.dictionaries(_keys, _values, max_size=5)
_usages = st.builds(lambda tokens: Usage(tokens, 3, 0, 1, None, 1.5, 2.5).to_dict(), st.integers(0, 9))
_call = dict.fromkeys(_CALL, 1)
_calls = st.lists(st.just(_call) | st.just({**_call, "error": "x"}) | _values, max_size=3)
_extras = st.fixed_dictionaries(
    {}, optional={"usage": _usages | _values, "calls": _calls | _values, "error": _values, "kept": _values}
)


@st.composite
def _traces(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Metadata, and a trace that begins there or with another state; steps of all kinds."""
    metadata = draw(_states)
    state = draw(st.just(metadata) | _states)
    trace = []
    for _ in range(draw(st.integers(0, 4))):
        entry: dict[str, Any] = {
            "block_type": draw(st.text(max_size=5)),
            "execution_time": draw(st.floats(0, 9)),
        }
        output = draw(_states | st.none())
        entry["input"] = draw(st.just(state) | st.just({k: state[k] for k in list(state)[:1]}) | _values)
        entry["output"] = output
        after = {**state, **(output or {})}
        change = draw(st.sampled_from(["plain", "more", "removed", "other", "failed", "odd"]))
        if change == "more":
            after["pipeline_output"] = after.get("assistant", draw(_values))
        elif change == "removed":
            after = dict(list(after.items())[1:])
        elif change == "other":
            after = draw(_states)
        if change == "odd":
            entry["accumulated_state"] = draw(_scalars)
        elif change != "failed":
            entry["accumulated_state"] = after
            state = after
        if change == "failed":
            del entry[draw(st.sampled_from(["output", "input", "execution_time"]))]
        trace.append({**entry, **draw(_extras)})
    return metadata, trace


def _exactly(value: Any) -> str:
    """JSON text, which differs for 1, 1.0 and True."""
    return json.dumps(value, sort_keys=True)


# On a busy machine the first examples are slow to draw, which is not what is tested.
_settings = settings(suppress_health_check=[HealthCheck.too_slow], max_examples=150)


@_settings
@given(_traces())
def test_any_trace_is_read_as_it_was_packed(
    case: tuple[dict[str, Any], list[dict[str, Any]]],
) -> None:
    metadata, trace = case

    packed = pack_trace(trace, metadata)

    assert _exactly(unpack_trace(packed.trace, packed.state, metadata)) == _exactly(trace)
    states = [
        entry["accumulated_state"] for entry in trace if isinstance(entry.get("accumulated_state"), dict)
    ]
    final = states[-1] if states else metadata
    assert _exactly(unpack_state(packed.state, metadata)) == _exactly(final)


@_settings
@given(_values)
def test_any_json_is_read_as_it_was_written(value: Any) -> None:
    assert _exactly(from_json(to_json(value))) == _exactly(value)


@pytest.mark.row("A27", "A204")
def test_a_text_is_stored_once_however_often_the_trace_repeats_it() -> None:
    text = "a long answer " * 100
    metadata = {"topic": "tea"}
    state = {**metadata, "assistant": text}
    trace = [
        {"block_type": "A", "input": metadata, "output": {"assistant": text}, "accumulated_state": state},
        {
            "block_type": "B",
            "input": state,
            "output": {},
            "accumulated_state": {**state, "pipeline_output": text},
        },
    ]

    packed = pack_trace(trace, metadata)

    assert (packed.trace + packed.state).count(text) == 1
    assert (
        unpack_trace(packed.trace, packed.state, metadata)[1]["accumulated_state"]["pipeline_output"] == text
    )
    assert unpack_changes(packed.state)[0] == {"assistant": text, "pipeline_output": text}


def test_a_rewritten_seed_value_counts_as_changed_and_an_untouched_one_does_not() -> None:
    metadata = {"system": "You are {{ role }}", "role": "a cook"}
    state = {"system": "You are a cook", "role": "a cook"}
    trace = [{"block_type": "A", "input": metadata, "output": {}, "accumulated_state": state}]

    packed = pack_trace(trace, metadata)

    assert unpack_changes(packed.state) == ({"system": "You are a cook"}, [])


def test_a_trace_in_the_first_layout_is_returned_as_it_is() -> None:
    trace = [{"block_type": "A", "input": {}, "output": {}, "accumulated_state": {}, "execution_time": 1.0}]

    assert unpack_trace(json.dumps(trace), None, {}) == trace
    assert unpack_trace(None, None, {}) == []


def test_values_that_are_equal_in_python_but_not_in_json_are_told_apart() -> None:
    assert not is_same_json(1, True)
    assert not is_same_json(1, 1.0)
    assert not is_same_json([0], [False])
    assert is_same_json({"a": [1]}, {"a": [1]})


def test_a_value_without_a_json_type_becomes_text() -> None:
    assert from_json(to_json({"path": {1, 2} - {2}, "number": 10**30, 3: "three"})) == {
        "path": "{1}",
        "number": 10**30,
        "3": "three",
    }


def test_a_value_that_contains_itself_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)

    with pytest.raises(StorageError, match="cannot be kept as JSON"):
        to_json(circle)
