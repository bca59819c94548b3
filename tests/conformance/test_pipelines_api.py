"""Section 7 of the contract, and the sides of sections 1, 3 and 6 that show over HTTP."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest

from conformance.conftest import Model, Server

pytestmark = pytest.mark.xdist_group("conformance_pipelines")  # one server for all of them
CHECK: dict[str, Any] = {"type": "ValidatorBlock", "config": {"min_length": 1}}
ECHO: dict[str, Any] = {"type": "TextGenerator", "config": {"user_prompt": "hi {{ topic }}"}}
SLOW: dict[str, Any] = {"type": "SlowBlock"}


def _is_error(answer: httpx.Response, status: int, message: str | None = None) -> bool:
    body = answer.json()
    assert answer.status_code == status, answer.text
    assert body.keys() == {"error", "detail"}
    assert message is None or body["error"] == message
    return True


@pytest.mark.row("A138")
def test_making_a_pipeline_answers_with_its_id_and_name(client: httpx.Client) -> None:
    answer = client.post("/api/pipelines", json={"name": "P1", "blocks": [CHECK]})

    assert answer.status_code == 200
    assert answer.json() == {"id": answer.json()["id"], "name": "P1"}
    assert isinstance(answer.json()["id"], int)


@pytest.mark.row("A139")
@pytest.mark.parametrize(
    "body",
    [
        {"name": "", "blocks": []},
        {"name": "x"},
        {"blocks": [CHECK]},
        {},
        {"name": "x", "blocks": []},
        {"name": " ", "blocks": [CHECK]},
    ],
)
def test_name_and_blocks_are_required(client: httpx.Client, body: dict[str, Any]) -> None:
    assert _is_error(client.post("/api/pipelines", json=body), 400, "name and blocks required")


@pytest.mark.row("A140")
@pytest.mark.parametrize("body", ["{bad", "[]", "5", '"x"', "null"])
def test_a_body_that_is_no_object_is_a_422(client: httpx.Client, body: str) -> None:
    answer = client.post("/api/pipelines", content=body, headers={"content-type": "application/json"})

    assert _is_error(answer, 422)
    assert answer.json()["detail"]["errors"]


@pytest.mark.row("A43", "A141")
def test_extra_keys_are_kept_in_the_definition(server: Server) -> None:
    constraints = {
        "max_total_tokens": -1,
        "max_total_input_tokens": 10,
        "max_total_output_tokens": None,
        "max_total_cached_tokens": 0,
        "max_total_execution_time": 60,
    }
    step = {**CHECK, "note": "kept", "position": {"x": 1.5, "y": -2}}

    number = server.create(step, constraints=constraints, layout={"zoom": 2})

    definition = server.client.get(f"/api/pipelines/{number}").json()["definition"]
    assert definition["constraints"] == constraints
    assert definition["layout"] == {"zoom": 2}
    assert definition["blocks"] == [step]


@pytest.mark.row("A11", "A12", "A142")
def test_an_unknown_block_is_taken_with_a_warning_and_refused_when_it_is_to_run(server: Server) -> None:
    made = server.client.post("/api/pipelines", json={"name": "P", "blocks": [{"type": "LLMBlock"}]})

    answer = server.execute(made.json()["id"], {})

    assert made.status_code == 200
    assert made.json()["warnings"]
    assert _is_error(answer, 400, "Block 'LLMBlock' not found")
    assert answer.json()["detail"]["block_type"] == "LLMBlock"
    assert {"TextGenerator", "JSONValidatorBlock", "SlowBlock"} <= set(
        answer.json()["detail"]["available_blocks"]
    )


@pytest.mark.row("A143")
def test_config_may_be_left_out(server: Server) -> None:
    answer = server.execute(server.create(SLOW), {})

    assert answer.json()["result"]["slept"] is True


@pytest.mark.row("A144", "A145")
def test_pipelines_are_listed_newest_first_and_look_the_same_alone(server: Server) -> None:
    older, newer = server.create(CHECK), server.create({"type": "MarkdownMultiplierBlock"})

    listed = server.client.get("/api/pipelines").json()
    alone = server.client.get(f"/api/pipelines/{newer}").json()

    assert [one["id"] for one in listed[:2]] == [newer, older]
    assert listed[0].keys() >= {"id", "name", "definition", "created_at", "validation_config"}
    assert alone == listed[0]
    assert (listed[0]["first_block_is_multiplier"], listed[1]["first_block_is_multiplier"]) == (True, False)


@pytest.mark.row("A146")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/execute"),
        ("POST", "/preview"),
        ("POST", "/validate"),
        ("GET", "/export"),
        ("GET", "/versions"),
        ("GET", "/accumulated_state_schema"),
    ],
)
def test_an_unknown_pipeline_is_a_404_and_no_number_a_422(
    client: httpx.Client, method: str, path: str
) -> None:
    body: dict[str, Any] = {"json": {}} if method == "POST" else {}

    unknown = client.request(method, f"/api/pipelines/999999{path}", **body)
    no_number = client.request(method, f"/api/pipelines/abc{path}", **body)

    assert _is_error(unknown, 404, "pipeline not found")
    assert _is_error(no_number, 422)


@pytest.mark.row("A147")
def test_a_pipeline_is_replaced_as_a_whole_by_a_new_version(server: Server) -> None:
    number = server.create(CHECK, layout={"zoom": 2})

    answer = server.client.put(f"/api/pipelines/{number}", json={"name": "P2", "blocks": [SLOW]})

    now = server.client.get(f"/api/pipelines/{number}").json()
    before = server.client.get(f"/api/pipelines/{number}/versions/1").json()
    assert answer.json() == {"id": number, "name": "P2"}
    assert (now["name"], now["version"], now["definition"]) == ("P2", 2, {"name": "P2", "blocks": [SLOW]})
    assert (before["name"], before["definition"]["layout"]) == ("P", {"zoom": 2})


@pytest.mark.row("A147")
def test_replacing_has_the_same_errors(server: Server) -> None:
    number = server.create(CHECK)

    empty = server.client.put(f"/api/pipelines/{number}", json={"name": "", "blocks": []})
    unknown = server.client.put("/api/pipelines/999999", json={"name": "P", "blocks": [CHECK]})

    assert _is_error(empty, 400, "name and blocks required")
    assert _is_error(unknown, 404, "pipeline not found")


@pytest.mark.row("A148")
def test_a_pipeline_is_deleted_once(server: Server) -> None:
    number = server.create(CHECK)

    first = server.client.delete(f"/api/pipelines/{number}")
    second = server.client.delete(f"/api/pipelines/{number}")

    assert (first.status_code, first.json()) == (200, {"success": True})
    assert _is_error(second, 404, "pipeline not found")


@pytest.mark.row("A5", "A17", "A18", "A22", "A150")
def test_executing_gives_result_trace_and_trace_id(server: Server) -> None:
    answer = server.execute(server.create(CHECK), {"text": "hello world"}).json()

    assert answer.keys() >= {"result", "trace", "trace_id", "usage"}
    assert answer["result"].items() >= {"text": "hello world", "valid": True}.items()
    assert uuid.UUID(answer["trace_id"]).version == 4
    assert answer["trace"][0]["block_type"] == "ValidatorBlock"
    assert answer["trace"][0].keys() >= {"input", "output", "accumulated_state", "execution_time"}


@pytest.mark.row("A15", "D6")
def test_each_execution_has_its_own_trace_id_and_usage(server: Server) -> None:
    number = server.create(ECHO)

    first, second = (server.execute(number, {"topic": "x"}).json() for _ in range(2))

    assert first["trace_id"] != second["trace_id"]
    assert first["result"]["pipeline_output"] == first["result"]["assistant"] == "echo: hi x"
    assert (first["usage"]["total_input_tokens"], first["usage"]["total_output_tokens"]) == (7, 3)


@pytest.mark.row("A151")
def test_executing_keeps_nothing_and_asks_the_model_each_time(server: Server, provider: Model) -> None:
    number = server.create(ECHO)
    before, asked = _count_rows(server), len(provider.server.requests)

    for _ in range(2):
        server.execute(number, {"topic": "the same"})

    assert _count_rows(server) == before
    assert len(provider.server.requests) == asked + 2


def _count_rows(server: Server) -> list[str]:
    lines = server.client.get("/metrics").text.splitlines()
    return [line for line in lines if line.startswith(("penstock_jobs{", "penstock_records{"))]


@pytest.mark.row("A8", "A9", "A152")
def test_a_block_that_fails_is_named_with_its_step_and_input(server: Server) -> None:
    answer = server.execute(server.create(CHECK, {"type": "BoomBlock"}), {"text": "q"})

    assert _is_error(answer, 400, "Block 'BoomBlock' failed at step 2: Connection timeout")
    detail = answer.json()["detail"]
    assert (detail["block_type"], detail["step"], detail["error"]) == ("BoomBlock", 2, "Connection timeout")
    assert detail["input"] == {"text": "q", "valid": True}


@pytest.mark.row("A6", "A10")
def test_undeclared_fields_are_an_error_of_their_own(server: Server) -> None:
    answer = server.execute(server.create({"type": "BadBlock"}), {})

    assert _is_error(answer, 400)
    assert "returned undeclared fields" in answer.json()["error"]
    detail = answer.json()["detail"]
    assert sorted(detail.pop("actual_outputs")) == ["ok", "zzz"]
    assert detail == {"block_type": "BadBlock", "declared_outputs": ["ok"], "extra_fields": ["zzz"]}


@pytest.mark.row("A119")
def test_a_variable_that_is_missing_is_named(server: Server) -> None:
    number = server.create({"type": "TextGenerator", "config": {"user_prompt": "hi {{ nope }}"}})

    answer = server.execute(number, {})

    assert _is_error(answer, 400)
    assert answer.json()["detail"]["error"] == "undefined variable in template: 'nope' is undefined"


@pytest.mark.row("A125")
def test_a_template_that_reaches_out_is_refused(server: Server) -> None:
    prompt = "{{ cycler.__init__.__globals__.os.getcwd() }}"
    number = server.create({"type": "TextGenerator", "config": {"user_prompt": prompt}})

    answer = server.execute(number, {})

    assert _is_error(answer, 400)
    assert str(server.folder) not in answer.text


@pytest.mark.row("A72", "A73")
@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"type": "TextGenerator", "config": {"temprature": 1}}, ("TextGenerator", "temprature")),
        ({"type": "StructuredGenerator", "config": {}}, ("StructuredGenerator", "json_schema")),
    ],
)
def test_a_wrong_setting_is_named_with_its_block(
    server: Server, step: dict[str, Any], words: tuple[str, ...]
) -> None:
    answer = server.execute(server.create(step), {})

    assert _is_error(answer, 400)
    assert all(word in answer.json()["error"] for word in words)


@pytest.mark.row("A30", "A35", "A91", "D6")
def test_a_multiplier_gives_a_list_of_executions(server: Server) -> None:
    number = server.create({"type": "MarkdownMultiplierBlock"}, {"type": "SlowBlock"})

    answer = server.execute(number, {"file_content": "# A\ntext\n\n## B\ntext\n\n### C\ntext"}).json()

    assert answer.keys() == {"results"}
    assert len(answer["results"]) == 3
    assert len({one["trace_id"] for one in answer["results"]}) == 3
    assert all(one.keys() >= {"result", "trace", "trace_id", "usage"} for one in answer["results"])


@pytest.mark.row("A33", "A34")
@pytest.mark.parametrize(
    ("types", "message"),
    [
        (("SlowBlock", "MarkdownMultiplierBlock"), "Multiplier block must be first in pipeline"),
        (("MarkdownMultiplierBlock",) * 2, "Only one multiplier block allowed per pipeline"),
    ],
)
def test_a_multiplier_in_the_wrong_place_is_refused(
    server: Server, types: tuple[str, ...], message: str
) -> None:
    number = server.create(*({"type": name} for name in types))

    assert _is_error(server.execute(number, {"file_content": "# A\ntext"}), 400, message)


@pytest.mark.row("A92")
def test_a_multiplier_with_nothing_to_multiply_is_an_error(server: Server) -> None:
    number = server.create({"type": "MarkdownMultiplierBlock"})

    assert _is_error(server.execute(number, {"file_content": " \n"}), 400)


@pytest.mark.row("A153")
def test_the_fields_that_a_pipeline_makes_are_sorted(server: Server) -> None:
    number = server.create(SLOW, ECHO)

    fields = server.client.get(f"/api/pipelines/{number}/accumulated_state_schema").json()

    assert fields == {"fields": ["assistant", "slept", "system", "user"]}


@pytest.mark.row("A154")
def test_the_layout_of_the_review_page_is_kept(server: Server) -> None:
    number = server.create(CHECK)
    layout = {"field_order": {"primary": ["text"], "secondary": [], "hidden": []}}

    answer = server.client.put(f"/api/pipelines/{number}/validation_config", json=layout)

    assert answer.json() == {"success": True}
    assert server.client.get(f"/api/pipelines/{number}").json()["validation_config"] == layout


@pytest.mark.row("A154")
@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"field_order": {}},
        {"field_order": {"primary": [], "secondary": []}},
        {"field_order": {"primary": "x", "secondary": [], "hidden": []}},
    ],
)
def test_a_layout_with_a_key_missing_is_refused(server: Server, layout: dict[str, Any]) -> None:
    number = server.create(CHECK)

    assert _is_error(server.client.put(f"/api/pipelines/{number}/validation_config", json=layout), 400)


@pytest.mark.row("A44")
def test_a_limit_below_minus_one_is_refused(client: httpx.Client) -> None:
    body = {"name": "P", "blocks": [CHECK], "constraints": {"max_total_tokens": -2}}

    assert _is_error(client.post("/api/pipelines", json=body), 400)


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
def test_a_file_that_fails_to_import_is_reported_and_stops_nobody(client: httpx.Client) -> None:
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
    assert _is_error(client.post("/api/pipelines/from_template/nope"), 404, "template not found")


@pytest.mark.row("D15")
def test_a_file_goes_in_and_comes_out_byte_for_byte(client: httpx.Client) -> None:
    source = "# mine\r\nname:   'ünï'\nblocks: [ {type: ValidatorBlock} ]\n\n"

    made = client.post("/api/pipelines/import", content=source.encode())

    assert client.get(f"/api/pipelines/{made.json()['id']}/export").content == source.encode()


@pytest.mark.row("D1")
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/api/none", 404), ("PATCH", "/api/pipelines", 405), ("GET", "/api/pipelines/x", 422)],
)
def test_errors_have_one_shape_everywhere(client: httpx.Client, method: str, path: str, status: int) -> None:
    assert _is_error(client.request(method, path), status)


@pytest.mark.row("D1")
def test_a_body_that_is_too_large_is_a_413(client: httpx.Client) -> None:
    def chunks() -> Any:
        for _ in range(12):
            yield b"x" * 2**20

    said = client.post("/api/pipelines", content=b"x" * (11 * 2**20))
    chunked = client.post("/api/pipelines", content=chunks())

    assert _is_error(said, 413)
    assert _is_error(chunked, 413)
    assert client.get("/health").status_code == 200
