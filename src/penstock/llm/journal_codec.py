"""How the journal writes a call: its key and its value, both bytes."""

from __future__ import annotations

from hashlib import blake2b
from math import isfinite
from time import time
from typing import Any

import orjson

from penstock.entities import Usage
from penstock.errors import BadInputError
from penstock.llm.call_context import Sample
from penstock.llm.completion import Completion
from penstock.serialization import from_json, to_json

_VALUES = 9
"""How many values an entry has; those of earlier versions lack the last one."""
_MOST_TOKENS = 1 << 53
_LAYOUT = 1
"""Part of every key: raising it makes all earlier calls be asked anew."""


def make_key(server: str, request: dict[str, Any], schema: dict[str, Any] | None, sample: Sample) -> bytes:
    """A digest (20 bytes) of the server, the whole request, the schema and the sample that it belongs to.

    Raises BadInputError when the request is not plain data.
    """
    try:
        text = orjson.dumps(
            (_LAYOUT, server, request, schema, tuple(sample)),
            option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS,
        )
    except orjson.JSONEncodeError as error:
        raise BadInputError(f"A request to a model can hold plain data only: {error}") from error
    return blake2b(text, digest_size=20).digest()


def encode_completion(completion: Completion, seconds: float) -> bytes:
    """The completion of a call that took ``seconds``; ``data`` is left out, since ``text`` holds it."""
    usage = completion.usage
    return to_json((
        completion.text,
        completion.model,
        completion.finish_reason,
        usage.input_tokens,
        usage.output_tokens,
        None if usage.unreported_calls else usage.cached_tokens,
        usage.cost,
        round(seconds, 4),
        completion.thoughts,
    )).encode()  # fmt: skip


def decode_completion(value: bytes) -> Completion:
    """The completion that was encoded, counted as a journal hit: its tokens as they were, its time is now.

    Numbers that no provider can have meant are unknown usage. Raises ValueError for a value that is not what
    ``encode_completion`` makes.
    """
    entry = from_json(value)
    if not isinstance(entry, list) or len(entry) not in {_VALUES - 1, _VALUES}:
        raise ValueError("it is not a list of the values of a call")
    text, model, finish_reason, given, made, cached, cost, _, *more = entry
    thoughts = more[0] if more else ""
    if not all(isinstance(part, str) for part in (text, model, finish_reason, thoughts)):
        raise ValueError("its text is not text")
    is_known = _is_count(given) and _is_count(made) and _is_count(cached)
    now = time()
    usage = Usage(
        given if _is_count(given) else 0,
        made if _is_count(made) else 0,
        cached if _is_count(cached) else 0,
        1,
        cost if _is_cost(cost) else None,
        now,
        now,
        journal_hits=1,
        unreported_calls=int(not is_known),
    )
    return Completion(text, usage, model, finish_reason, thoughts=thoughts)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MOST_TOKENS


def _is_cost(value: Any) -> bool:
    return type(value) in {int, float} and isfinite(value) and value >= 0
