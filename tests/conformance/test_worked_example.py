"""Section 13 of the contract: the worked example, end to end."""

from __future__ import annotations

import json

import pytest

from conformance.conftest import Server

pytestmark = pytest.mark.xdist_group("conformance_worked_example")

SEED = {
    "system": "You are a {{ role }} who specializes in {{ domain }}.",
    "user": "Explain {{ topic }} in simple terms.",
    "role": "teacher",
    "domain": "physics",
    "topic": "gravity",
}


@pytest.mark.row("A38", "A121", "A122", "A124", "A141", "A190", "A201", "A204", "D8")
def test_the_worked_example(server: Server) -> None:
    client = server.client

    number = server.create(
        {"type": "TextGenerator", "config": {}}, name="E2E", constraints={"max_total_tokens": -1}
    )
    job = server.run(number, [{"repetitions": 2, "metadata": SEED}])
    records = server.records(job["id"])
    accepted = client.put(f"/api/records/{records[0]['id']}", json={"status": "accepted"})
    export = client.get("/api/export", params={"job_id": job["id"], "status": "accepted"}).text.splitlines()
    deleted = client.delete("/api/records", params={"job_id": job["id"]})
    gone = client.get(f"/api/jobs/{job['id']}")

    assert (job["status"], job["current_seed"], job["total_seeds"]) == ("completed", 2, 2)
    assert (job["usage"]["total_input_tokens"], job["usage"]["total_output_tokens"]) == (14, 6)
    assert [record["output"] for record in records] == ["echo: Explain gravity in simple terms."] * 2
    assert records[0]["trace"][0]["output"]["system"] == "You are a teacher who specializes in physics."
    assert all(record["metadata"] == SEED for record in records)
    assert accepted.json() == {"success": True}
    assert len(export) == 1
    state = json.loads(export[0])["accumulated_state"]
    assert state.keys() == {"assistant", "pipeline_output", "system", "user"}
    assert state["system"] == "You are a teacher who specializes in physics."
    assert (deleted.json(), gone.status_code) == ({"deleted": 2}, 404)
