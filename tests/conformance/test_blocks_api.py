"""Sections 3 and 6 of the contract: blocks and templates."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from conformance.helpers import is_error

SLOW: dict[str, Any] = {"type": "SlowBlock"}

pytestmark = pytest.mark.xdist_group("conformance_blocks_api")  # one server for all of them


@pytest.mark.row("A55", "A60", "A61", "A70", "A71")
def test_blocks_are_listed_with_their_settings(client: httpx.Client) -> None:
    blocks = {block["type"]: block for block in client.get("/api/blocks").json()}

    assert {
        "TextGenerator",
        "StructuredGenerator",
        "MarkdownMultiplierBlock",
        "DiversityScore",
        "CoherenceScore",
        "RougeScore",
        "ValidatorBlock",
        "JSONValidatorBlock",
        "SlowBlock",
    } <= blocks.keys()
    keys = {"type", "name", "description", "inputs", "outputs", "config_schema"}
    assert all(keys <= block.keys() for block in blocks.values())
    schema = blocks["TextGenerator"]["config_schema"]
    assert set(schema["properties"]) >= {"model", "temperature", "max_tokens", "system_prompt", "user_prompt"}
    assert (schema["type"], schema["required"]) == ("object", [])
    assert blocks["MarkdownMultiplierBlock"]["is_multiplier"] is True


@pytest.mark.row("A59")
def test_a_file_that_fails_to_import_is_reported_and_the_others_load(client: httpx.Client) -> None:
    errors = client.get("/api/blocks/errors").json()

    assert [error for error in errors if error["file"].endswith("broken.py") and error["error"]]


@pytest.mark.row("A126", "A129", "A134")
def test_templates_are_listed_with_example_seeds(client: httpx.Client) -> None:
    templates = {template["id"]: template for template in client.get("/api/templates").json()}

    names = {
        "json_generation": "JSON Generation",
        "text_classification": "Text Classification",
        "qa_generation": "Q&A Generation",
    }
    assert {name: templates[name]["name"] for name in names} == names
    seeds = templates["json_generation"]["example_seed"]
    assert seeds[0].keys() >= {"repetitions", "metadata"}
    assert "content" in seeds[0]["metadata"]


@pytest.mark.row("A135")
def test_a_template_gives_a_new_pipeline_each_time(client: httpx.Client) -> None:
    answers = [client.post("/api/pipelines/from_template/json_generation") for _ in range(2)]

    first, second = (answer.json() for answer in answers)
    assert first == {"id": first["id"], "name": "JSON Generation", "template_id": "json_generation"}
    assert first["id"] != second["id"]
    blocks = client.get(f"/api/pipelines/{second['id']}").json()["definition"]["blocks"]
    assert [block["type"] for block in blocks] == ["StructuredGenerator", "JSONValidatorBlock"]


@pytest.mark.row("A136")
def test_an_unknown_template_is_a_404(client: httpx.Client) -> None:
    assert is_error(client.post("/api/pipelines/from_template/nope"), 404, "template not found")
