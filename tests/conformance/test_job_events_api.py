"""The events of a job, as a browser reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from conformance.conftest import Server
from conformance.helpers import CHECK, slow, topics

pytestmark = pytest.mark.xdist_group("conformance_job_events_api")  # one server for all of them


def _read_events(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    event: dict[str, Any] = {}
    for line in answer.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
            continue
        if "data" in event:
            yield {**event, "data": json.loads(event["data"])}
        event = {}


def test_a_job_is_watched_to_its_end(server: Server) -> None:
    job_id = server.begin(server.create(slow(0.1)), topics(20), concurrency=2)
    path = f"/api/jobs/{job_id}/events"

    with server.client.stream("GET", path) as answer:
        events = list(_read_events(answer))
    end = {"last-event-id": events[-1]["id"]}
    over = server.client.get(path, headers=end)
    with server.client.stream("GET", path) as again:
        late = list(_read_events(again))

    ids = [int(event["id"]) for event in events]
    made = [event["data"]["records_generated"] for event in events]
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert {event["event"] for event in events[:-1]} == {"progress"}
    assert events[-1]["event"] == "end"
    assert events[-1]["data"] == server.job(job_id)
    assert ids == sorted(set(ids))
    assert made == sorted(made)
    assert len(made) >= 3
    assert over.status_code == 204
    assert [event["event"] for event in late] == ["end"]


def test_a_client_that_reconnects_gets_the_present_state_and_the_end(server: Server) -> None:
    job_id = server.begin(server.create(slow(0.1)), topics(20), concurrency=2)
    path = f"/api/jobs/{job_id}/events"
    with server.client.stream("GET", path) as answer:
        first = next(_read_events(answer))
    server.wait(job_id)

    with server.client.stream("GET", path, headers={"last-event-id": first["id"]}) as answer:
        rest = list(_read_events(answer))

    assert [event["event"] for event in rest] == ["end"]
    assert int(rest[0]["id"]) > int(first["id"])


@pytest.mark.parametrize("last", ["", "x", "-1", "9" * 40, "²"])
def test_an_unusable_last_event_id_is_ignored(server: Server, last: str) -> None:
    job = server.run(server.create(CHECK), topics(1))
    headers = {b"last-event-id": last.encode()}

    with server.client.stream("GET", f"/api/jobs/{job['id']}/events", headers=headers) as answer:
        events = list(_read_events(answer))

    assert [event["event"] for event in events] == ["end"]


def test_an_open_event_stream_does_not_keep_the_service_from_stopping(server: Server) -> None:
    job_id = server.begin(server.create(slow(0.2)), topics(30), concurrency=1)
    with httpx.stream("GET", f"{server.url}/api/jobs/{job_id}/events", timeout=60, trust_env=False) as answer:
        events = _read_events(answer)
        next(events)

        status = server.stop()

        list(events)
    server.start()
    server.client.delete(f"/api/jobs/{job_id}")
    assert status == 0
