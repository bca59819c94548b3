"""Nothing is fetched or opened because a schema names it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import DefinitionError
from penstock.gates.builtin.json_schema import JSONSchemaGate
from penstock.json_schema import SchemaError, compile_schema, find_meta_violation
from penstock.llm.structured_output import accepts
from penstock.workflow import validate

DRAFTS = [
    "http://json-schema.org/draft-04/schema#",
    "http://json-schema.org/draft-06/schema#",
    "http://json-schema.org/draft-07/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema",
]


class Listener(HTTPServer):
    """Counts the requests that reach it; every answer is a schema."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.paths: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Listener)
        self.server.paths.append(self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"type": "object"}')

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def hostile_schemas(address: str) -> list[dict[str, Any]]:
    return [
        {"$schema": f"{address}/meta.json", "type": "object"},
        {"properties": {"a": {"$schema": f"{address}/inner", "$id": f"{address}/a"}}},
        {"allOf": [{"$defs": {}, "if": {"$schema": f"{address}/if"}}]},
        {"$ref": f"{address}/schema"},
        {"$ref": f"{address}/schema#/$defs/a"},
        {"$id": f"{address}/", "$ref": "other.json"},
        {"$id": f"{address}/a/", "properties": {"x": {"$ref": "../b"}}},
        {"$dynamicRef": f"{address}/dynamic#a"},
        {"$schema": DRAFTS[3], "$recursiveRef": f"{address}/recursive"},
        {"$schema": DRAFTS[2], "definitions": {"a": {"$ref": f"{address}/old"}}, "$ref": "#/definitions/a"},
        {"$schema": DRAFTS[0], "id": f"{address}/old/", "$ref": "x.json"},
        {"$vocabulary": {f"{address}/vocabulary": True}},
        {"properties": {"a": {"$ref": f"{address}/in", "$schema": f"{address}/meta"}}},
    ]


def use_everywhere(schema: dict[str, Any]) -> None:
    """Give a schema to each entry of penstock that takes one."""
    for use in (compile_schema, find_meta_violation, JSONSchemaGate):
        try:
            use(schema)
        except (SchemaError, DefinitionError):
            continue
    accepts(schema, {"a": 1})
    gate = {"type": "JSONSchemaGate", "config": {"json_schema": schema}}
    validate(
        {
            "name": "x",
            "blocks": [
                {
                    "type": "StructuredGenerator",
                    "config": {"user_prompt": "q", "json_schema": schema},
                    "gates": [gate],
                }
            ],
        }
    )


def test_no_address_in_a_schema_is_fetched(listener: Listener) -> None:
    for schema in hostile_schemas(listener.url):
        use_everywhere(schema)

    assert listener.paths == []


def test_no_file_in_a_schema_is_opened(tmp_path: Path) -> None:
    for content in ('{"type": "object"}', "no JSON"):
        (tmp_path / "meta.json").write_text(content)
    (tmp_path / "none").mkdir()
    answers = []
    for name in ("meta.json", "nothing.json", "none"):
        schema = {"$schema": f"file://{tmp_path}/{name}", "type": "object"}
        with pytest.raises(SchemaError) as caught:
            find_meta_violation(schema)
        answers.append(str(caught.value).replace(name, "NAME"))

    assert len(set(answers)) == 1, "a reader learns which files there are"
    assert "unknown '$schema'" in answers[0]


@pytest.mark.parametrize(
    "name", ["http://127.0.0.1:9/x", "file:///etc/passwd", "draft-07", "https://json-schema.org/x", 5, ""]
)
def test_an_unknown_draft_is_an_issue_that_says_what_to_write(name: Any) -> None:
    definition = {
        "name": "x",
        "blocks": [
            {
                "type": "StructuredGenerator",
                "config": {"user_prompt": "q", "json_schema": {"$schema": name, "type": "object"}},
            }
        ],
    }

    (issue,) = validate(definition)

    assert issue.message.startswith("The JSON Schema names an unknown '$schema'")
    assert "Leave '$schema' out" in issue.fix


@pytest.mark.parametrize("name", [*DRAFTS, None])
def test_published_drafts_are_known(name: str | None) -> None:
    schema = {"type": "object"} if name is None else {"$schema": name, "type": "object"}

    assert find_meta_violation(schema) is None
    assert compile_schema(schema).accepts({})
    assert not compile_schema(schema).accepts([])


def test_only_one_package_knows_the_validator() -> None:
    import penstock

    root = Path(str(penstock.__file__)).parent
    users = {
        path.relative_to(root).parts[0]
        for path in root.rglob("*.py")
        if "import jsonschema_rs" in path.read_text(encoding="utf-8")
    }

    assert users == {"json_schema"}
