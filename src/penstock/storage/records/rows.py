"""A record as a row of the database, and back."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, null

from penstock.entities import RecordId, RecordStatus, Usage
from penstock.errors import SerializationError
from penstock.serialization import from_json, to_json
from penstock.storage.entities import NewRecord, Record
from penstock.storage.tables import records
from penstock.storage.text_escapes import escape_json, escape_text, unescape_json, unescape_text
from penstock.storage.trace_codec import pack_trace

NEW_COLUMNS = tuple(column.name for column in records.columns if column.name not in {"id", "edits"})
"""The columns of a new record, in the table's order."""

COLUMNS = tuple(records.columns)
"""What ``to_record`` reads."""
COLUMNS_WITHOUT_TRACE = tuple(
    null().label("trace") if column.name == "trace" else column for column in records.columns
)
"""The same with null for the trace, which is most of a record."""

_WIDTH = len(COLUMNS)
_STATUSES = {status.value: status for status in RecordStatus}

UNREPORTED = -1
"""In the column ``cached_tokens`` of a record of whose calls one was not reported by its provider: the other
columns then hold estimates."""

MOST_TOKENS = 1 << 53
"""The largest number of tokens, calls or attempts that is believed; databases and readers of JSON hold it."""
_MOST_ATTEMPTS = (1 << 31) - 1
_LONGEST = 200_000_000
"""The most characters of one record's texts: SQLite and PostgreSQL hold about a gigabyte in UTF-8."""

_CONSUMED = "$penstock.consumed"
"""Key in a stored metadata with the names of the fields that are in ``seed_fields``."""
_NOT_PRINTABLE = re.compile("[\x00\ud800-\udfff]")


def to_row(record: NewRecord, now: Any) -> tuple[Any, ...]:
    """The record's values in the order of ``NEW_COLUMNS``; ``now`` is a time as the database takes it.

    Raises SerializationError for a record that no database can hold. Usage that none can hold is unknown.
    """
    packed = pack_trace(record.trace, record.metadata, record.consumed)
    metadata = record.metadata
    if record.consumed:
        metadata = {**record.own_metadata, _CONSUMED: record.consumed}
    usage = _to_storable_usage(record.usage)
    seed, repetition, child = record.identity
    output, stored_metadata = to_output(record.output), to_stored_json(metadata)
    size = len(output) + len(stored_metadata) + len(packed.trace) + len(packed.state)
    if size > _LONGEST:
        raise SerializationError(
            f"The record has {size:,} characters of text; {_LONGEST:,} can be stored at most.",
            detail={"characters": size, "limit": _LONGEST},
        )
    return (
        output,
        stored_metadata,
        record.status.value,
        record.pipeline_id,
        record.job_id,
        escape_json(packed.trace),
        now,
        now,
        seed,
        repetition,
        child,
        record.pipeline_version,
        escape_json(packed.state),
        None if record.error is None else to_stored_json(record.error),
        None if record.error is None else find_cause(record.error),
        min(record.attempts, _MOST_ATTEMPTS),
        usage.input_tokens,
        usage.output_tokens,
        UNREPORTED if usage.unreported_calls else usage.cached_tokens,
        usage.llm_calls,
        usage.journal_hits,
        usage.cost,
        usage.start_time,
        usage.end_time,
    )


def _to_storable_usage(usage: Usage) -> Usage:
    """The usage if a database can hold it and sum it up; otherwise what is left of it, as not reported."""
    cost = usage.cost
    if (
        0 <= usage.input_tokens <= MOST_TOKENS
        and 0 <= usage.output_tokens <= MOST_TOKENS
        and 0 <= usage.cached_tokens <= MOST_TOKENS
        and 0 <= usage.llm_calls <= MOST_TOKENS
        and 0 <= usage.journal_hits <= MOST_TOKENS
        and (cost is None or math.isfinite(cost))
    ):
        return usage
    return replace(
        usage,
        input_tokens=_clamp(usage.input_tokens),
        output_tokens=_clamp(usage.output_tokens),
        cached_tokens=_clamp(usage.cached_tokens),
        llm_calls=_clamp(usage.llm_calls),
        journal_hits=_clamp(usage.journal_hits),
        cost=cost if cost is not None and math.isfinite(cost) else None,
        unreported_calls=max(usage.unreported_calls, 1),
    )


def _clamp(count: float) -> int:
    return int(min(max(count, 0), MOST_TOKENS))


def to_record(row: Row[Any]) -> Record:
    """The record that a row of ``COLUMNS`` holds, without the fields of its seed that are stored once.

    The row may have more columns after these. An export reads many rows, and the columns of one by their
    names would take longer than everything else.
    """
    (
        id_, output, metadata, status, pipeline_id, job_id, trace, created_at, updated_at, seed, repetition,
        child, pipeline_version, state, edits, error, cause, attempts, input_tokens, output_tokens,
        cached_tokens, llm_calls, journal_hits, cost, usage_start, usage_end,
    ) = row[:_WIDTH]  # fmt: skip
    metadata = from_stored_json(metadata)
    consumed = metadata.pop(_CONSUMED, ()) if isinstance(metadata, dict) else ()
    return Record(
        id=id_,
        output=unescape_text(output),
        metadata=metadata,
        status=_STATUSES.get(status) or RecordStatus(status),
        created_at=created_at,
        updated_at=updated_at,
        pipeline_id=pipeline_id,
        job_id=job_id,
        pipeline_version=pipeline_version,
        identity=None if seed is None else RecordId(seed, repetition, child),
        error=None if error is None else from_stored_json(error),
        cause=cause,
        attempts=attempts,
        usage=Usage(
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cached_tokens=max(cached_tokens, 0),
            unreported_calls=int(cached_tokens < 0),
            llm_calls=llm_calls,
            cost=cost,
            start_time=usage_start,
            end_time=usage_end,
            journal_hits=journal_hits,
        ),
        edits=from_stored_json(edits) or {},
        consumed=tuple(consumed),
        packed_trace=None if trace is None else unescape_json(trace),
        packed_state=None if state is None else unescape_json(state),
    )


def to_output(output: Any) -> str:
    """A pipeline's output as the text that is stored (D2)."""
    return escape_text(output if isinstance(output, str) else to_json(output).lstrip())


def to_stored_json(value: Any) -> str:
    """A value as JSON that every database can read."""
    return escape_json(to_json(value))


def from_stored_json(text: str | None) -> Any:
    """The value that ``to_stored_json`` wrote; None for None."""
    return None if text is None else from_json(unescape_json(text))


def find_cause(error: Mapping[str, Any]) -> str:
    """The reason in an error, without what differs from record to record, so that failures can be counted."""
    given = error.get("detail")
    detail: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    message = str(
        detail.get("error") or error.get("error") or error.get("message") or error.get("type") or "unknown"
    )
    line = message.strip().splitlines()[0] if message.strip() else "unknown"
    line = re.sub(r"\d+", "N", re.sub(r"(['\"`]).{12,}?\1", r"\1…\1", line[:400]))[:200]
    block_type = detail.get("block_type")
    return _NOT_PRINTABLE.sub("\ufffd", f"{block_type}: {line}" if block_type else line)
