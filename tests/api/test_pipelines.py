"""Pipelines over HTTP: what the conformance tests do not cover."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from penstock.entities import JobStatus, RecordId
from penstock.errors import NotFoundError
from penstock.storage import jobs, records
from penstock.storage.entities import NewRecord
from penstock.testing import ModelServer

Create = Callable[..., Awaitable[int]]

ECHO: dict[str, Any] = {"type": "TextGenerator", "config": {"user_prompt": "hi {{ topic }}"}}
COUNT: dict[str, Any] = {"type": "CountingBlock"}
BOOM: dict[str, Any] = {"type": "BoomBlock"}
CHECKED: dict[str, Any] = {"type": "ValidatorBlock", "config": {"min_length": 1}}

YAML = """\
# Written by hand: ünïcode, odd spacing, and a comment.\r
name:   "By hand"
blocks:
  - {type: ValidatorBlock,   config: {min_length: 1}}   # one step
layout: {x: 1}


"""


async def test_a_pinned_step_is_not_run_again(
    client: AsyncClient, create: Create, model: ModelServer
) -> None:
    number = await create(ECHO, CHECKED)
    first = (
        await client.post(f"/api/pipelines/{number}/preview", json={"seed": {"topic": "x"}, "up_to": 1})
    ).json()

    pins = {"1": first["steps"][0]["output"]}
    second = (
        await client.post(f"/api/pipelines/{number}/preview", json={"seed": {"topic": "x"}, "pins": pins})
    ).json()

    assert first["result"]["assistant"] == "echo: hi x"
    assert [step["step"] for step in first["steps"]] == [1]
    assert first["usage"]["total_tokens"] == 10
    assert second["result"]["valid"] is True
    assert [(step["step"], step["pinned"]) for step in second["steps"]] == [(1, True), (2, False)]
    assert second["usage"]["llm_calls"] == 0
    assert len(model.requests) == 1


async def test_a_single_step_runs_on_pinned_outputs(client: AsyncClient, create: Create) -> None:
    number = await create(ECHO, COUNT, CHECKED)

    answer = await client.post(
        f"/api/pipelines/{number}/preview", json={"seed": {}, "only": 3, "pins": {"1": {"assistant": "abc"}}}
    )

    assert answer.status_code == 200
    assert [step["step"] for step in answer.json()["steps"]] == [1, 3]
    assert answer.json()["result"] == {"assistant": "abc", "valid": True, "pipeline_output": "abc"}


async def test_a_failed_step_is_the_last_and_has_its_error(client: AsyncClient, create: Create) -> None:
    number = await create(COUNT, BOOM, CHECKED)

    answer = (
        await client.post(f"/api/pipelines/{number}/preview", json={"seed": {"metadata": {"a": 1}}})
    ).json()

    assert [step["step"] for step in answer["steps"]] == [1, 2]
    assert answer["steps"][1]["error"] == "Block 'BoomBlock' failed at step 2: Connection timeout"
    assert answer["error"]["detail"]["step"] == 2
    assert answer["result"]["a"] == 1


async def test_a_preview_continues_with_one_child_of_a_multiplier(
    client: AsyncClient, create: Create
) -> None:
    number = await create(
        {"type": "MarkdownMultiplierBlock"}, {"type": "CoherenceScore", "config": {"field_name": "content"}}
    )
    seed = {"file_content": "# A\none.\n\n# B\ntwo."}

    answer = (await client.post(f"/api/pipelines/{number}/preview", json={"seed": seed, "child": 1})).json()
    beyond = await client.post(f"/api/pipelines/{number}/preview", json={"seed": seed, "child": 2})

    assert answer["children"] == 2
    assert "two" in answer["result"]["content"]
    assert [step["step"] for step in answer["steps"]] == [1, 2]
    assert beyond.status_code == 400


async def test_unsaved_changes_can_be_previewed(client: AsyncClient, create: Create) -> None:
    number = await create(BOOM)

    answer = await client.post(
        f"/api/pipelines/{number}/preview",
        json={"seed": {"assistant": "x"}, "definition": {"name": "Draft", "blocks": [CHECKED]}},
    )

    assert answer.json()["result"]["valid"] is True
    assert (await client.get(f"/api/pipelines/{number}")).json()["version"] == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"up_to": 3}, 400),
        ({"only": 9}, 400),
        ({"up_to": 0}, 422),
        ({"only": 1, "up_to": 1}, 400),
        ({"pins": {"9": {}}}, 400),
        ({"pins": {"one": {}}}, 400),
        ({"pins": {"1": {"nope": 1}}}, 400),
        ({"pins": {"1": 5}}, 422),
        ({"seed": [1]}, 422),
        ({"unknown": 1}, 422),
    ],
)
async def test_a_preview_of_steps_that_do_not_exist_is_refused(
    client: AsyncClient, create: Create, body: dict[str, Any], status: int
) -> None:
    number = await create(COUNT, CHECKED)

    answer = await client.post(f"/api/pipelines/{number}/preview", json=body)

    assert answer.status_code == status


async def test_an_imported_file_is_exported_byte_for_byte(client: AsyncClient) -> None:
    source = YAML.encode()

    made = await client.post(
        "/api/pipelines/import", content=source, headers={"content-type": "application/yaml"}
    )
    out = await client.get(f"/api/pipelines/{made.json()['id']}/export")

    assert made.status_code == 200, made.text
    assert out.content == source
    assert out.headers["content-type"].startswith("application/yaml")
    assert 'filename="By_hand.yaml"' in out.headers["content-disposition"]


async def test_a_file_can_be_imported_as_a_new_version(client: AsyncClient) -> None:
    number = (await client.post("/api/pipelines/import", content=YAML)).json()["id"]
    other = YAML.replace("By hand", "By another hand")

    await client.post(f"/api/pipelines/import?pipeline_id={number}", content=other)
    await client.put(f"/api/pipelines/{number}", json={"name": "By form", "blocks": [COUNT]})

    files = [(await client.get(f"/api/pipelines/{number}/export?version={n}")).text for n in (1, 2)]
    written = (await client.get(f"/api/pipelines/{number}/export")).text
    versions = (await client.get(f"/api/pipelines/{number}/versions")).json()
    assert files == [YAML, other]
    assert written.splitlines()[0] == "name: By form"
    assert [(version["version"], version["name"]) for version in versions] == [
        (3, "By form"),
        (2, "By another hand"),
        (1, "By hand"),
    ]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"/etc/passwd", 400),
        (b"just words", 400),
        (b"- a\n- b", 400),
        (b"\xff\xfe\x00", 400),
        (b"name: [unclosed", 400),
        (b"name: x\nblocks: []", 400),
        (b"name: x\nblocks: five", 422),
        (b"name: x\nblocks: [{config: {}}]", 422),
        (b"a: &a [x, x]\nb: &b [*a, *a]\nname: !!python/object/apply:os.system [id]", 400),
    ],
)
async def test_a_file_that_is_no_pipeline_is_refused(client: AsyncClient, body: bytes, status: int) -> None:
    answer = await client.post("/api/pipelines/import", content=body)

    assert answer.status_code == status, answer.text
    assert "root:" not in answer.text


async def test_a_limit_may_be_written_as_a_float_without_fraction(
    client: AsyncClient, create: Create
) -> None:
    number = await create(COUNT, constraints={"max_total_tokens": 100.0})
    file = b"name: x\nblocks: [{type: CountingBlock}]\nconstraints: {max_total_tokens: 100.0}"
    imported = (await client.post("/api/pipelines/import", content=file)).json()["id"]

    answers = [await client.post(f"/api/pipelines/{n}/execute", json={}) for n in (number, imported)]

    assert [answer.status_code for answer in answers] == [200, 200]


async def test_an_unknown_version_is_a_404(client: AsyncClient, create: Create) -> None:
    number = await create(COUNT)

    for version in ("2", "0", "-5", "9999999999"):
        answer = await client.get(f"/api/pipelines/{number}/versions/{version}")

        assert answer.status_code == 404


async def test_the_documented_issue_is_the_one_that_is_answered(client: AsyncClient) -> None:
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    shown = next(text for text in re.findall(r"```json\n(.*?)```", page, re.DOTALL) if "severity" in text)

    definition = {"name": "P", "blocks": [{"type": "TextGeneratr"}]}
    answer = await client.post("/api/pipelines/validate", json=definition)

    assert answer.json()["problems"] == [json.loads(shown)]


async def test_issues_name_the_step(client: AsyncClient, create: Create) -> None:
    number = await create({"type": "TextGeneratr"}, CHECKED)

    stored = (await client.post(f"/api/pipelines/{number}/validate")).json()
    direct = (await client.post("/api/pipelines/validate", json={"name": "x", "blocks": "no"})).json()

    assert stored["valid"] is False
    assert stored["problems"][0]["step"] == 1
    assert direct["valid"] is False


@pytest.mark.row("A44", "A52")
@pytest.mark.parametrize(
    "limits", [{"max_total_tokens": -2}, {"max_total_tokens": "many"}, [1], {"max_tokns": 1}, "x"]
)
async def test_impossible_limits_are_refused_when_a_pipeline_is_saved(
    client: AsyncClient, limits: Any
) -> None:
    body = {"name": "P", "blocks": [COUNT], "constraints": limits}

    answer = await client.post("/api/pipelines", json=body)

    assert answer.status_code == 400


@pytest.mark.row("A6", "A10")
async def test_undeclared_fields_are_listed_in_the_error(client: AsyncClient, create: Create) -> None:
    number = await create({"type": "BadBlock"})

    answer = await client.post(f"/api/pipelines/{number}/execute", json={})

    assert answer.status_code == 400
    assert "returned undeclared fields" in answer.json()["error"]
    assert answer.json()["detail"]["extra_fields"] == ["zzz"]
    assert "step" not in answer.json()["detail"]


async def test_a_pipeline_that_cannot_be_built_is_a_400(client: AsyncClient, create: Create) -> None:
    for step in (
        {**COUNT, "samples": "many"},
        {**COUNT, "gates": [{}]},
        {**COUNT, "heal": {"max_attempts": "x"}},
    ):
        number = await create(step)

        answer = await client.post(f"/api/pipelines/{number}/execute", json={})

        assert answer.status_code == 400, answer.text


async def test_blocks_and_what_failed_to_load_are_listed(client: AsyncClient) -> None:
    blocks = {block["type"]: block for block in (await client.get("/api/blocks")).json()}
    errors = (await client.get("/api/blocks/errors")).json()
    gates = {gate["type"] for gate in (await client.get("/api/gates")).json()}

    assert {"CountingBlock", "TextGenerator"} <= blocks.keys()
    assert [error["file"].endswith("broken.py") for error in errors] == [True]
    assert {"RegexGate", "JSONSchemaGate"} <= gates


async def test_hooks_run_before_a_pipeline_is_deleted(client: AsyncClient, create: Create, app: Any) -> None:
    number = await create(COUNT)
    seen: list[int] = []

    @asynccontextmanager
    async def prepare(pipeline_id: int) -> AsyncIterator[None]:
        seen.append(pipeline_id)
        yield

    app.state.services.before_delete.append(prepare)
    answer = await client.delete(f"/api/pipelines/{number}")

    assert answer.json() == {"success": True}
    assert seen == [number]


async def test_names_with_nul_or_too_many_characters_are_refused(client: AsyncClient) -> None:
    for name in ("x\x00y", "x" * 201):
        answer = await client.post("/api/pipelines", json={"name": name, "blocks": [COUNT]})

        assert answer.status_code == 422


@pytest.mark.row("A149")
async def test_deleting_a_pipeline_deletes_its_jobs_and_records(
    client: AsyncClient, create: Create, app: FastAPI
) -> None:
    number = await create(COUNT)
    storage = app.state.services.storage
    async with storage.session() as session:
        job_id = await jobs.create_job(session, number, total_seeds=1, status=JobStatus.COMPLETED)
        record_id = await records.save_record(session, NewRecord(job_id, number, RecordId(0), {"topic": "x"}))

    await client.delete(f"/api/pipelines/{number}")

    async with storage.reading() as session:
        with pytest.raises(NotFoundError, match="job not found"):
            await jobs.get_job(session, job_id)
        with pytest.raises(NotFoundError, match="record not found"):
            await records.get_record(session, record_id)


async def test_the_children_of_a_long_document_do_not_repeat_it(client: AsyncClient, create: Create) -> None:
    number = await create(
        {"type": "MarkdownMultiplierBlock"},
        {"type": "DiversityScore", "config": {"field_name": "content"}},
    )
    text = "\n\n".join(f"## {section}\n\n{'lorem ipsum ' * 2000}" for section in range(20))

    async def execute(document: str) -> list[dict[str, Any]]:
        seed = {"file_content": document, "topic": "t"}
        answer = await client.post(f"/api/pipelines/{number}/execute", json=seed)
        return [result["trace"][0]["input"] for result in answer.json()["results"]]

    short, long = await execute("# a\n\nb\n\n# c\n\nd"), await execute(text)

    assert [sorted(seen) for seen in short] == [["file_content", "topic"]] * 2
    assert long == [{"file_content": text, "topic": "t"}] + [{"topic": "t"}] * 19
