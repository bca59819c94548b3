"""Every text comes out as it went in, whatever the database refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.entities import JobStatus, RecordStatus
from penstock.serialization import from_json, to_json
from penstock.storage import jobs, pipelines, records
from penstock.storage.database import Storage
from penstock.storage.entities import NewRecord
from penstock.storage.filters import FieldFilter, Order, RecordFilter
from penstock.storage.text_escapes import escape_json, escape_text, unescape_json, unescape_text
from penstock.storage.writer import Writer
from support.records import read_all, save_all

New = Callable[..., NewRecord]

NUL = "a\x00b"
HARD = [NUL, "\x00", "\ud800", "\udc00\ud800", "\x1a", "\x1a0000", "\\u0000", "\\\\\x00", "\U0001f600", "\\"]
_TEXT = st.text(st.one_of(st.characters(), st.sampled_from("\x00\x1a\ud800\udfff\\u0d8")))


@given(_TEXT)
@example("\x1a0000")
@example("\x1ad83d")
def test_text_is_the_same_after_escaping(text: str) -> None:
    stored = escape_text(text)

    assert unescape_text(stored) == text
    assert "\x00" not in stored
    stored.encode()


@given(st.recursive(_TEXT, lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner), max_leaves=5))
@example("\\u0000")
@example("\\\x00")
@example({"\ud83d": "\ude00\ud83d"})
def test_json_is_the_same_after_escaping(value: Any) -> None:
    stored = escape_json(to_json(value))

    assert from_json(unescape_json(stored)) == value
    plain = json.dumps(json.loads(stored), ensure_ascii=False)
    assert "\\u0000" not in plain.replace("\\\\", "")
    plain.encode()


def test_text_of_an_earlier_version_is_read_as_it_is() -> None:
    assert unescape_text("a \x1a b \x1azz") == "a \x1a b \x1azz"
    assert unescape_json('{"a":"\\u0000 \\u001a"}') == '{"a":"\\u0000 \\u001a"}'


async def test_a_record_with_nul_comes_out_as_it_went_in(storage: Storage, new_record: New) -> None:
    state = {"list": HARD, NUL: {"deep": NUL}}
    error = {"error": f"bad {NUL}", "detail": {"answer": "\ud800"}}

    await save_all(
        storage,
        *(new_record(seed, text, state, topic=text) for seed, text in enumerate(HARD)),
        new_record(99, NUL, state, status=RecordStatus.FAILED, error=error),
    )

    read = await read_all(storage)
    assert [record.output for record in read] == [*HARD, NUL]
    assert [record.metadata["topic"] for record in read[:-1]] == HARD
    for record in read:
        assert (record.state["list"], record.state[NUL]) == (HARD, {"deep": NUL})
        assert record.trace[0]["output"]["list"] == HARD
    assert read[-1].error == error


async def test_edits_with_nul_are_kept_and_undone(storage: Storage, new_record: New) -> None:
    [record_id] = await save_all(storage, new_record(0, NUL))

    async with storage.session() as session:
        edited = await records.update_record(
            session, record_id, output="\x00", metadata={"topic": NUL}, state={"note": NUL}
        )
        await records.update_record(session, record_id, output="plain", metadata={}, state={"note": "plain"})
        history = await records.list_history(session, record_id)
        once = await records.undo_edit(session, record_id)
        twice = await records.undo_edit(session, record_id)

    for record in (edited, once):
        assert (record.output, record.metadata, record.edits) == ("\x00", {"topic": NUL}, {"note": NUL})
    assert (history[0]["output"], history[0]["metadata"], history[0]["state"]) == (
        "\x00",
        {"topic": NUL},
        {"note": NUL},
    )
    assert (twice.output, twice.metadata, twice.edits) == (NUL, {"topic": "topic 0"}, {})


@pytest.mark.parametrize("hard", ["\x00", "\ud800"])
async def test_records_with_nul_do_not_disturb_filters(storage: Storage, new_record: New, hard: str) -> None:
    states = [{"note": hard, "score": 2}, {"note": "plain", "score": 1}]
    first, second = await save_all(storage, *(new_record(n, hard, state) for n, state in enumerate(states)))

    async with storage.reading() as session:

        async def find(**field: Any) -> list[int]:
            matching = RecordFilter(fields=(FieldFilter(**field),))
            page = await records.list_page(session, matching, order=Order("score", is_field=True))
            return [record.id for record in page.records]

        assert await find(name="note", equals=hard) == [first]
        assert await find(name="note", equals="plain") == [second]
        assert await find(name="pipeline_output", equals=hard) == [first, second]
        assert await find(name="score", minimum=1) == [first, second]


async def test_the_error_of_a_job_and_the_name_of_a_pipeline_may_have_nul(
    storage: Storage, job_id: int, writer: Writer
) -> None:
    writer.update_job(job_id, status=JobStatus.STOPPED, error=f"the model said {NUL}")
    await writer.flush()
    async with storage.session() as session:
        pipeline_id = await pipelines.save_pipeline(session, NUL, {"name": NUL, "blocks": []})
        job = await jobs.get_job(session, job_id)
        stored = await pipelines.get_pipeline(session, pipeline_id)
        [newest, _] = await pipelines.list_pipelines(session)

    assert job.error == f"the model said {NUL}"
    assert (stored.name, newest.name, stored.definition["name"]) == (NUL, NUL, NUL)
