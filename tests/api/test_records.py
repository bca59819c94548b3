"""Filters and pages of records return exactly the matching records, whatever these contain."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient, Response
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from penstock.api.filters import read_cursor, read_order, write_cursor
from penstock.app import create_app, open_services
from penstock.entities import RecordId, RecordStatus
from penstock.errors import BadInputError
from penstock.settings import Settings
from penstock.storage import jobs, pipelines, records
from penstock.storage.database import Storage
from penstock.storage.entities import NewRecord
from penstock.storage.records import Position

Create = Callable[..., Awaitable[int]]
Rows = list[tuple[dict[str, Any], RecordStatus]]
NAMES = ("score", "kind", "a b", "with'quote", 'with"quote', "back\\slash", "$dollar", "per%cent_", "ü")
_numbers = st.one_of(st.integers(-3, 3), st.sampled_from([0.5, -0.25, 1e300, 2**40]))
_values = st.one_of(
    st.none(), st.booleans(), _numbers, st.sampled_from(["", "a", "b", "1", "true", "%", "é"])
)
_metadata = st.dictionaries(st.sampled_from([name for name in NAMES if '"' not in name]), _values, max_size=4)
_rows = st.lists(st.tuples(_metadata, st.sampled_from(list(RecordStatus))), min_size=1, max_size=12)


class Stock:
    """A service in memory, and a client of it, on a loop of their own that outlives an example."""

    def __init__(
        self, runner: asyncio.Runner, client: AsyncClient, storage: Storage, pipeline_id: int
    ) -> None:
        self._runner = runner
        self._client = client
        self._storage = storage
        self._pipeline_id = pipeline_id
        self.job_id = 0

    def fill(self, rows: Rows) -> None:
        """Begin a job that has these records; what is asked from now on is asked about it."""
        self._runner.run(self._fill(rows))

    async def _fill(self, rows: Rows) -> None:
        async with self._storage.session() as session:
            self.job_id = await jobs.create_job(session, self._pipeline_id, len(rows))
            for number, (metadata, status) in enumerate(rows):
                record = _record(self.job_id, self._pipeline_id, number, metadata, status)
                await records.save_record(session, record)

    def get(self, path: str = "", **params: Any) -> Response:
        """The answer about the job's records."""
        asked = self._client.get(f"/api/records{path}", params={**params, "job_id": self.job_id})
        return self._runner.run(asked)


@pytest.fixture(scope="module")
def stock() -> Iterator[Stock]:
    """Records to be found."""
    app = create_app(Settings(database_path=Path(":memory:")))
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def open_() -> Stock:
            services = await stack.enter_async_context(
                open_services(Settings(database_path=Path(":memory:")))
            )
            app.state.services = services
            transport = ASGITransport(app=app)
            client = await stack.enter_async_context(
                AsyncClient(transport=transport, base_url="http://127.0.0.1")
            )
            async with services.storage.session() as session:
                pipeline_id = await pipelines.save_pipeline(session, "P", {"name": "P", "blocks": []})
            return Stock(runner, client, services.storage, pipeline_id)

        yield runner.run(open_())
        runner.run(stack.aclose())


def _record(
    job_id: int, pipeline_id: int, number: int, metadata: dict[str, Any], status: RecordStatus
) -> NewRecord:
    """Every second record has its fields in the state, and not in the metadata."""
    seed = metadata if number % 2 else {}
    entry = {"block_type": "B", "input": seed, "output": metadata, "accumulated_state": dict(metadata)}
    return NewRecord(
        job_id=job_id,
        pipeline_id=pipeline_id,
        identity=RecordId(number),
        metadata=seed,
        output=f"record {number}",
        trace=[{**entry, "execution_time": 0.0}],
        status=status,
        error={"error": "no", "detail": {}} if status is RecordStatus.FAILED else None,
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _as_query(value: Any) -> str:
    return value if isinstance(value, str) and _reads_as_text(value) else orjson.dumps(value).decode()


def _reads_as_text(value: str) -> bool:
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError:
        return True
    return False


def _is_same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON; 1 and 1.0 are the same number."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    rows=_rows,
    name=st.sampled_from([name for name in NAMES if '"' not in name]),
    equals=_values.filter(lambda value: value is not None),
    low=_numbers,
    high=_numbers,
    statuses=st.sets(st.sampled_from(list(RecordStatus))),
)
def test_a_filter_returns_exactly_the_matching_records(
    stock: Stock,
    rows: Rows,
    name: str,
    equals: Any,
    low: float,
    high: float,
    statuses: set[RecordStatus],
) -> None:
    def holds(number: int, test: Callable[[Any], bool]) -> bool:
        metadata, status = rows[number]
        value = metadata.get(name)
        return (not statuses or status in statuses) and value is not None and test(value)

    stock.fill(rows)

    for query, test in (
        ({"equals": _as_query(equals)}, lambda value: _is_same(value, equals)),
        ({"min": low, "max": high}, lambda value: _is_number(value) and low <= value <= high),
    ):
        asked: dict[str, Any] = {"status": [str(status) for status in statuses], "field": name, **query}
        answer = stock.get(**asked, sort="id")
        counts = stock.get("/counts", **asked)

        expected = [f"record {number}" for number in range(len(rows)) if holds(number, test)]
        assert answer.status_code == 200, answer.text
        assert [record["output"] for record in answer.json()] == expected
        assert counts.json()["total"] == len(expected)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    rows=_rows,
    sort=st.sampled_from(["id", "-id", "updated_at", "-created_at", "score", "-score", "kind"]),
    limit=st.integers(1, 5),
)
@example(rows=[({"score": 1}, RecordStatus.PENDING)] * 5, sort="-score", limit=2)
@example(rows=[({}, RecordStatus.PENDING)] * 5, sort="score", limit=2)
def test_pages_by_cursor_make_up_the_whole_list_in_order(
    stock: Stock, rows: Rows, sort: str, limit: int
) -> None:
    name, down = sort.removeprefix("-"), sort.startswith("-")

    def place(number: int) -> tuple[Any, ...]:
        value = rows[number][0].get(name)
        sign = -1 if down else 1
        if name not in {"score", "kind"}:
            return (sign * number,)
        number_or_nothing: Any = value if _is_number(value) else None
        if number_or_nothing is None:
            return (True, 0, sign * number)
        return (False, sign * number_or_nothing, sign * number)

    stock.fill(rows)
    pages: list[str] = []
    params: dict[str, Any] = {"sort": sort, "limit": limit}

    for _ in range(len(rows) + 1):
        answer = stock.get(**params)
        pages += [record["output"] for record in answer.json()]
        if "x-next-cursor" not in answer.headers:
            break
        params["cursor"] = answer.headers["x-next-cursor"]

    assert pages == [f"record {number}" for number in sorted(range(len(rows)), key=place)]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(name=st.one_of(st.sampled_from(NAMES), st.text(max_size=30)), text=st.text(max_size=30))
@example(name='a"b', text="%_\\")
@example(name="a\\", text="\x00")
@example(name="..", text="'")
@example(name="[0]", text="é")
def test_no_field_and_no_text_causes_a_database_error(stock: Stock, name: str, text: str) -> None:
    stock.fill([({"score": 1}, RecordStatus.PENDING)])

    answers = [
        stock.get(**params)
        for params in (
            {"field": name, "equals": text},
            {"field": name, "min": "0"},
            {"text": text},
            {"cause": text},
            {"sort": name},
            {"sort": f"-{name}"},
        )
    ]

    assert {answer.status_code for answer in answers} <= {200, 400, 422}


@pytest.mark.parametrize("sort", ["-id", "updated_at", "score"])
def test_a_cursor_of_another_order_is_refused(sort: str) -> None:
    order = read_order("-score")
    cursor = write_cursor(order, Position(7, 0.5))

    with pytest.raises(BadInputError, match="does not belong"):
        read_cursor(cursor, read_order(sort))
    assert read_cursor(cursor, order) == Position(7, 0.5)


@given(text=st.text(max_size=60))
def test_a_forged_cursor_is_refused(text: str) -> None:
    with pytest.raises(BadInputError):
        read_cursor(text, read_order("-id"))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_page_never_ends_at_a_value_that_json_cannot_hold(value: float) -> None:
    cursor = write_cursor(read_order("score"), Position(7, value))

    assert read_cursor(cursor, read_order("score")).value is None


async def _make_records(client: AsyncClient, create: Create, count: int) -> int:
    number = await create({"type": "CountingBlock"})
    content = orjson.dumps([{"metadata": {"n": n}} for n in range(count)])
    answer = await client.post(
        "/api/generate", files={"file": ("seeds.json", content)}, data={"pipeline_id": number}
    )
    job_id = int(answer.json()["job_id"])
    async with client.stream("GET", f"/api/jobs/{job_id}/events") as events:
        await events.aread()
    return job_id


async def test_a_page_has_the_address_of_the_next_one(client: AsyncClient, create: Create) -> None:
    await _make_records(client, create, 3)

    first = await client.get("/api/records", params={"limit": 2, "field": "n", "min": 0})
    second = await client.get(first.links["next"]["url"])

    assert [len(page.json()) for page in (first, second)] == [2, 1]
    assert "next" not in second.links


async def test_a_bulk_change_skips_failed_records_unless_they_are_named(
    app: FastAPI, client: AsyncClient, create: Create
) -> None:
    job_id = await _make_records(client, create, 2)
    services = app.state.services
    async with services.storage.session() as session:
        await records.save_record(session, _record(job_id, 1, 9, {}, RecordStatus.FAILED))

    usual = await client.post("/api/records/bulk", json={"status": "accepted", "filter": {}})
    named = await client.post(
        "/api/records/bulk", json={"status": "rejected", "filter": {"status": ["failed"], "ids": [3]}}
    )

    assert (usual.json(), named.json()) == ({"changed": 2}, {"changed": 1})


@pytest.mark.parametrize("value", [5, True, None, {"a": [1]}, "text"])
async def test_an_output_of_any_type_can_be_set(client: AsyncClient, create: Create, value: Any) -> None:
    await _make_records(client, create, 1)

    answer = await client.put("/api/records/1", json={"output": value, "status": "edited"})

    expected = {5: "5", None: "1", "text": "text"}.get(value) if not isinstance(value, dict) else '{"a":[1]}'
    expected = "true" if value is True else expected
    assert answer.status_code == 200
    assert (await client.get("/api/records/1")).json()["output"] == expected
