"""How a trace is stored: what changed at each step, and no text twice.

The contract's trace repeats the whole state at each step, so a record of ten steps would be stored ten times.
Here the last state is stored once, as what differs from the seed's metadata (which is also what an export
shows and a filter reads), and each step as what it changed. A value that is still in the last state is only
named.
Unpacking gives back the same trace for everything that JSON can express.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any, NamedTuple

from penstock.serialization import from_json, is_same_json, to_json

_KNOWN = frozenset({"block_type", "input", "output", "accumulated_state", "execution_time"})
_USAGE = (
    "total_tokens",
    "total_input_tokens",
    "total_output_tokens",
    "total_cached_tokens",
    "start_time",
    "end_time",
    "total_cost",
    "llm_calls",
    "journal_hits",
)
_CALL = (
    "model",
    "temperature",
    "attempt",
    "seconds",
    "retries",
    "from_journal",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "finish_reason",
)
"""Keys that most entries have, in their order: then only the values are stored.

These lists are part of the format on disk and never change; an entry with other keys is stored as it is.
"""
_SAME = "$same"
_REMOVED = "$removed"


class PackedTrace(NamedTuple):
    """The two texts that a trace is stored as."""

    trace: str
    state: str


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What must be set and what removed to come from ``before`` to ``after``."""
    changed = {
        key: value
        for key, value in after.items()
        if key not in before or not is_same_json(before[key], value)
    }
    if len(before) == len(after) - len(changed):
        return changed, []
    return changed, [key for key in before if key not in after]


def pack_trace(
    trace: Iterable[Mapping[str, Any]], metadata: Mapping[str, Any], consumed: Container[str] = ()
) -> PackedTrace:
    """Pack a record's trace; ``metadata`` is the state that its first step is compared with.

    ``consumed`` are fields of it that a multiplier took apart: the last state is compared without them.
    """
    entries = list(trace)
    states = [entry.get("accumulated_state") for entry in entries]
    final: Mapping[str, Any] = next(
        (state for state in reversed(states) if isinstance(state, dict)), metadata
    )
    steps = _pack_steps(entries, metadata, final)
    return PackedTrace(trace=to_json({"steps": steps}), state=pack_state(final, _without(metadata, consumed)))


def unpack_trace(
    trace: str | None, state: str | None, metadata: Mapping[str, Any], consumed: Container[str] = ()
) -> list[dict[str, Any]]:
    """The trace as the contract shows it; one in the contract's first layout is returned as it is."""
    packed = from_json(trace)
    if not isinstance(packed, dict):
        return packed if isinstance(packed, list) else []
    final = unpack_state(state, _without(metadata, consumed))
    before = dict(metadata)
    entries = []
    for step in packed["steps"]:
        entry, before = _unpack_step(step, before, final)
        entries.append(entry)
    return entries


def _without(metadata: Mapping[str, Any], consumed: Container[str]) -> Mapping[str, Any]:
    return {key: value for key, value in metadata.items() if key not in consumed} if consumed else metadata


def pack_state(final: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """The last state, as what differs from the metadata."""
    changed, removed = difference(metadata, final)
    twin = _find_twin(changed)
    if twin is not None:
        del changed["pipeline_output"]
    if any(key.startswith("$") for key in changed):
        changed = {f"${key}" if key.startswith("$") else key: value for key, value in changed.items()}
    if twin is not None:
        changed[_SAME] = twin
    if removed:
        changed[_REMOVED] = removed
    return to_json(changed)


def unpack_changes(state: str | None) -> tuple[dict[str, Any], list[str]]:
    """What the last state adds to the metadata, and the keys that it lacks."""
    changed = from_json(state)
    if not isinstance(changed, dict):
        return {}, []
    assert state is not None
    if '"$' not in state:  # most states have neither
        return changed, []
    twin = changed.pop(_SAME, None)
    removed = changed.pop(_REMOVED, [])
    if any(key.startswith("$$") for key in changed):
        changed = {key[1:] if key.startswith("$$") else key: value for key, value in changed.items()}
    if twin is not None:
        changed["pipeline_output"] = changed[twin]
    return changed, removed


def unpack_state(state: str | None, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The last state, whole."""
    changed, removed = unpack_changes(state)
    final = {**metadata, **changed}
    for key in removed:
        final.pop(key, None)
    return final


def _find_twin(changed: dict[str, Any]) -> str | None:
    """The key with the same value as ``pipeline_output``, when that is worth sharing."""
    output = changed.get("pipeline_output")
    if not isinstance(output, (str, dict, list)):
        return None
    for key, value in changed.items():
        if key != "pipeline_output" and not key.startswith("$") and is_same_json(value, output):
            return key
    return None


def _pack_steps(
    entries: list[Mapping[str, Any]], before: Mapping[str, Any], final: Mapping[str, Any]
) -> list[dict[str, Any]]:
    steps = []
    for entry in entries:
        steps.append(_pack_step(entry, before, final))
        state = entry.get("accumulated_state")
        if isinstance(state, dict):
            before = state
    return steps


def _pack_step(
    entry: Mapping[str, Any], before: Mapping[str, Any], final: Mapping[str, Any]
) -> dict[str, Any]:
    step: dict[str, Any] = {
        "block_type": entry.get("block_type"),
        "execution_time": entry.get("execution_time"),
    }
    absent = [key for key in _KNOWN if key not in entry]
    if absent:
        step["absent"] = sorted(absent)
    merged: Mapping[str, Any] = before
    if "output" in entry:
        output = entry["output"]
        if isinstance(output, dict):
            _pack_values(step, output, final)
            merged = {**before, **output}
        else:
            step["returned"] = output
    if "input" in entry:
        _pack_input(step, entry["input"], before)
    if "accumulated_state" in entry:
        state = entry["accumulated_state"]
        if not isinstance(state, dict):
            step["state"] = state
        elif change := _pack_change(merged, state, final):
            step["then"] = change
    _pack_more(step, {key: value for key, value in entry.items() if key not in _KNOWN})
    return step


def _pack_more(step: dict[str, Any], more: dict[str, Any]) -> None:
    """Pack what a step has beyond the contract's keys."""
    if _has_keys(more.get("usage"), _USAGE):
        step["usage"] = list(more.pop("usage").values())
    calls = more.get("calls")
    if isinstance(calls, list) and all(isinstance(call, dict) for call in calls):
        step["calls"] = [list(call.values()) if _has_keys(call, _CALL) else call for call in calls]
        del more["calls"]
    if more:
        step["more"] = more


def _has_keys(value: Any, keys: tuple[str, ...]) -> bool:
    return isinstance(value, dict) and len(value) == len(keys) and tuple(value) == keys


def _pack_values(step: dict[str, Any], values: Mapping[str, Any], final: Mapping[str, Any]) -> None:
    """Name the values that the last state still has, and store the others."""
    kept: list[str] = []
    rest: dict[str, Any] = {}
    for key, value in values.items():
        if key in final and is_same_json(final[key], value):
            kept.append(key)
        else:
            rest[key] = value
    if kept:
        step["kept"] = kept
    if rest:
        step["set"] = rest


def _pack_input(step: dict[str, Any], seen: Any, before: Mapping[str, Any]) -> None:
    """Store nothing when the step saw the whole state, as most do; else the names of what it saw."""
    if not isinstance(seen, dict):
        step["saw"] = {"value": seen}
        return
    saw: dict[str, Any] = {}
    _pack_values(saw, seen, before)
    if len(saw.get("kept", ())) != len(before) or "set" in saw:
        step["saw"] = saw


def _pack_change(
    before: Mapping[str, Any], after: Mapping[str, Any], final: Mapping[str, Any]
) -> dict[str, Any]:
    changed, removed = difference(before, after)
    change: dict[str, Any] = {}
    _pack_values(change, changed, final)
    if removed:
        change["removed"] = removed
    return change


def _unpack_values(packed: Mapping[str, Any], final: Mapping[str, Any]) -> dict[str, Any]:
    return {**{key: final[key] for key in packed.get("kept", ())}, **packed.get("set", {})}


def _unpack_change(
    packed: Mapping[str, Any], before: Mapping[str, Any], final: Mapping[str, Any]
) -> dict[str, Any]:
    after = {**before, **_unpack_values(packed, final)}
    for key in packed.get("removed", ()):
        after.pop(key, None)
    return after


def _unpack_step(
    step: Mapping[str, Any], before: dict[str, Any], final: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The entry, and the state after it."""
    output = step["returned"] if "returned" in step else _unpack_values(step, final)
    after = {**before, **output} if isinstance(output, dict) else before
    after = _unpack_change(step.get("then", {}), after, final)
    entry = {
        "block_type": step["block_type"],
        "input": _unpack_input(step.get("saw"), before),
        "output": output,
        "accumulated_state": step.get("state", after),
        "execution_time": step["execution_time"],
    }
    if "usage" in step:
        entry["usage"] = dict(zip(_USAGE, step["usage"], strict=True))
    if "calls" in step:
        calls = step["calls"]
        entry["calls"] = [
            call if isinstance(call, dict) else dict(zip(_CALL, call, strict=True)) for call in calls
        ]
    entry.update(step.get("more", {}))
    absent = step.get("absent", ())
    for key in absent:
        del entry[key]
    if "state" in step or "accumulated_state" in absent:
        after = before
    return entry, after


def _unpack_input(saw: Mapping[str, Any] | None, before: dict[str, Any]) -> Any:
    if saw is None:
        return dict(before)
    return saw["value"] if "value" in saw else _unpack_values(saw, before)
