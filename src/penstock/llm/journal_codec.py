"""How the journal writes a call: its key and its value, both bytes."""

from __future__ import annotations

from hashlib import blake2b
from time import time
from typing import Any

import orjson

from penstock.entities import Usage
from penstock.errors import BadInputError
from penstock.llm.call_context import Sample
from penstock.llm.completion import Completion

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
    return orjson.dumps((
        completion.text,
        completion.model,
        completion.finish_reason,
        usage.input_tokens,
        usage.output_tokens,
        None if usage.unreported_calls else usage.cached_tokens,
        usage.cost,
        round(seconds, 4),
        completion.thoughts,
    ))  # fmt: skip


def decode_completion(value: bytes) -> Completion:
    """The completion that was encoded, counted as a journal hit: its tokens as they were, its time is now."""
    text, model, finish_reason, given, made, cached, cost, _, *thoughts = orjson.loads(value)
    now = time()
    usage = Usage(
        given, made, cached or 0, 1, cost, now, now, journal_hits=1, unreported_calls=int(cached is None)
    )
    return Completion(text, usage, model, finish_reason, thoughts=thoughts[0] if thoughts else "")
