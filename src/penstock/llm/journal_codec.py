"""What the journal keeps of a call, and under which key."""

from __future__ import annotations

from hashlib import blake2b
from time import time
from typing import Any

import orjson

from penstock.entities import Usage
from penstock.errors import BadInputError
from penstock.llm.call_context import Sample
from penstock.llm.usage import Completion

_LAYOUT = 1
"""Raise it when keys come to mean something else; what was kept before is then asked anew."""


def make_key(base: str, request: dict[str, Any], schema: dict[str, Any] | None, sample: Sample) -> bytes:
    """A digest of the server, the whole request (the schema apart) and the sample that it belongs to.

    Raises BadInputError when the request is not plain data.
    """
    try:
        whole = orjson.dumps(
            (_LAYOUT, base, request, schema, tuple(sample)),
            option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS,
        )
    except orjson.JSONEncodeError as error:
        raise BadInputError(f"A request to a model can hold plain data only: {error}") from error
    return blake2b(whole, digest_size=20).digest()


def pack(completion: Completion, seconds: float) -> bytes:
    """A completion as the journal keeps it; ``data`` is read from the text again."""
    usage = completion.usage
    return orjson.dumps((
        completion.text,
        completion.model,
        completion.finish_reason,
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_tokens,
        usage.cost,
        round(seconds, 4),
    ))  # fmt: skip


def unpack(value: bytes, data: Any = None) -> Completion:
    """The completion that ``pack`` wrote, counted as a hit: its tokens as they were, its time as now."""
    text, model, finish_reason, input_tokens, output_tokens, cached_tokens, cost, _ = orjson.loads(value)
    now = time()
    usage = Usage(input_tokens, output_tokens, cached_tokens, 1, cost, now, now, journal_hits=1)
    return Completion(text, usage, model, finish_reason, data)
