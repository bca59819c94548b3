"""Sections 1, 3 and 7 of the contract: a pipeline is executed once."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from conformance.conftest import Model, Server
from conformance.helpers import CHECK, ECHO, MULTIPLY, is_error
from penstock.workflow import Pipeline

SLOW: dict[str, Any] = {"type": "SlowBlock"}

pytestmark = pytest.mark.xdist_group("conformance_executing_api")  # one server for all of them


@pytest.mark.row("A11", "A12", "A142")
def test_an_unknown_block_is_saved_with_a_warning_and_refused_at_execution(server: Server) -> None:
    made = server.client.post("/api/pipelines", json={"name": "P", "blocks": [{"type": "LLMBlock"}]})

    answer = server.execute(made.json()["id"], {})

    assert made.status_code == 200
    assert made.json()["warnings"]
    assert is_error(answer, 400, "Block 'LLMBlock' not found")
    assert answer.json()["detail"]["block_type"] == "LLMBlock"
    assert {"TextGenerator", "JSONValidatorBlock", "SlowBlock"} <= set(
        answer.json()["detail"]["available_blocks"]
    )


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
def test_executing_stores_nothing_and_calls_the_model_each_time(server: Server, provider: Model) -> None:
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

    assert is_error(answer, 400, "Block 'BoomBlock' failed at step 2: Connection timeout")
    detail = answer.json()["detail"]
    assert (detail["block_type"], detail["step"], detail["error"]) == ("BoomBlock", 2, "Connection timeout")
    assert detail["input"] == {"text": "q", "valid": True}


@pytest.mark.row("A6", "A10")
def test_undeclared_fields_are_a_validation_error(server: Server) -> None:
    answer = server.execute(server.create({"type": "BadBlock"}), {})

    assert is_error(answer, 400)
    assert "returned undeclared fields" in answer.json()["error"]
    detail = answer.json()["detail"]
    assert sorted(detail.pop("actual_outputs")) == ["ok", "zzz"]
    assert detail == {"block_type": "BadBlock", "declared_outputs": ["ok"], "extra_fields": ["zzz"]}


@pytest.mark.row("A119")
def test_a_variable_that_is_missing_is_named(server: Server) -> None:
    number = server.create({"type": "TextGenerator", "config": {"user_prompt": "hi {{ nope }}"}})

    answer = server.execute(number, {})

    assert is_error(answer, 400)
    assert answer.json()["detail"]["error"] == "undefined variable in template: 'nope' is undefined"


@pytest.mark.row("A125")
def test_a_template_that_leaves_the_sandbox_is_refused(server: Server) -> None:
    prompt = "{{ cycler.__init__.__globals__.os.getcwd() }}"
    number = server.create({"type": "TextGenerator", "config": {"user_prompt": prompt}})

    answer = server.execute(number, {})

    assert is_error(answer, 400)
    assert str(server.folder) not in answer.text


@pytest.mark.row("A72", "A73")
@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"type": "TextGenerator", "config": {"temprature": 1}}, ("TextGenerator", "temprature")),
        ({"type": "StructuredGenerator", "config": {}}, ("StructuredGenerator", "json_schema")),
    ],
)
def test_the_error_names_a_wrong_setting_and_its_block(
    server: Server, step: dict[str, Any], words: tuple[str, ...]
) -> None:
    answer = server.execute(server.create(step), {})

    assert is_error(answer, 400)
    assert all(word in answer.json()["error"] for word in words)


@pytest.mark.row("A30", "A35", "A91", "D6")
def test_a_multiplier_gives_a_list_of_executions(server: Server) -> None:
    number = server.create(MULTIPLY, {"type": "SlowBlock"})

    answer = server.execute(number, {"file_content": "# A\ntext\n\n## B\ntext\n\n### C\ntext"}).json()

    assert answer.keys() == {"results"}
    assert len(answer["results"]) == 3
    assert len({one["trace_id"] for one in answer["results"]}) == 3
    assert all(one.keys() >= {"result", "trace", "trace_id", "usage"} for one in answer["results"])


@pytest.mark.row("A30", "D6")
@pytest.mark.parametrize("text", ["# A\ntext", "# A\ntext\n\n# B\ntext"])
async def test_a_multiplier_gives_a_list_even_of_one(server: Server, text: str) -> None:
    blocks: list[dict[str, Any]] = [MULTIPLY, {"type": "ValidatorBlock"}]

    results = await Pipeline.load_from_dict({"name": "P", "blocks": blocks}).execute({"file_content": text})
    answer = server.execute(server.create(*blocks), {"file_content": text}).json()

    assert isinstance(results, list)
    assert len(results) == text.count("#")
    assert answer.keys() == {"results"}
    assert [one["result"] for one in answer["results"]] == [one.result for one in results]


@pytest.mark.row("A81")
@pytest.mark.parametrize(
    "text", ["  two\n\tlines, with space \n", '<b>{{ topic }}</b> & "x"', "ünï 😀\u2028"]
)
def test_the_providers_text_is_the_answer_character_for_character(
    server: Server, asked: list[dict[str, Any]], provider: Model, text: str
) -> None:
    provider.server.answer = lambda body: text

    answer = server.execute(server.create(ECHO), {"topic": "x"}).json()

    assert answer["result"]["assistant"] == text
    assert answer["result"]["pipeline_output"] == text
    assert answer["trace"][0]["output"]["assistant"] == text


@pytest.mark.row("A81")
def test_an_empty_answer_is_an_answer_only_where_the_block_allows_it(
    server: Server, asked: list[dict[str, Any]], provider: Model
) -> None:
    provider.server.answer = lambda body: ""
    allowing = {**ECHO, "config": {**ECHO["config"], "allow_incomplete": True}}

    refused = server.execute(server.create(ECHO), {"topic": "x"})
    allowed = server.execute(server.create(allowing), {"topic": "x"}).json()

    assert refused.status_code == 400
    assert "empty" in refused.json()["error"]
    assert allowed["result"]["assistant"] == ""
    assert allowed["result"]["pipeline_output"] == ""


@pytest.mark.row("D5")
def test_usage_has_the_keys_of_the_contract(server: Server) -> None:
    usage = server.execute(server.create(ECHO), {"topic": "x"}).json()["usage"]

    assert usage.keys() >= {
        *("total_tokens", "total_input_tokens", "total_output_tokens", "total_cached_tokens"),
        *("start_time", "end_time", "total_cost", "llm_calls"),
    }
    assert (usage["total_tokens"], usage["llm_calls"]) == (10, 1)
    assert usage["total_cost"] is None  # gpt-x has no known price


@pytest.mark.row("D11")
def test_a_structured_generators_prompt_is_that_of_the_config_or_else_the_states(
    server: Server, asked: list[dict[str, Any]], provider: Model
) -> None:
    provider.server.answer = lambda body: '{"a": 1}'
    config = {"json_schema": {"type": "object"}}

    own = server.create(
        {"type": "StructuredGenerator", "config": {**config, "user_prompt": "own {{ topic }}"}}
    )
    empty = server.create({"type": "StructuredGenerator", "config": config})
    for number in (own, empty):
        server.execute(number, {"topic": "x", "user_prompt": "the state's"})

    assert [request["body"]["messages"][-1]["content"] for request in asked] == ["own x", "the state's"]


@pytest.mark.row("D12")
def test_a_markdown_document_is_split_at_headings_outside_of_code(server: Server) -> None:
    text = "# A\ntext\n\n```sh\n# not a heading\n```\n\n# B\ntext"

    answer = server.execute(server.create(MULTIPLY), {"file_content": text}).json()

    results = [one["result"] for one in answer["results"]]
    assert [one["chunk_index"] for one in results] == [0, 1]
    assert "# not a heading" in results[0]["content"]
    assert results[1]["content"].startswith("# B")


@pytest.mark.row("D10")
def test_a_seeds_variables_are_visible_at_the_top_and_under_metadata(server: Server) -> None:
    number = server.create({"type": "TextGenerator", "config": {"user_prompt": "{{ x }}{{ metadata.x }}"}})

    assert server.execute(number, {"x": "1"}).json()["result"]["assistant"] == "echo: 11"


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

    assert is_error(server.execute(number, {"file_content": "# A\ntext"}), 400, message)


@pytest.mark.row("A92")
def test_a_multiplier_without_input_is_an_error(server: Server) -> None:
    number = server.create(MULTIPLY)

    assert is_error(server.execute(number, {"file_content": " \n"}), 400)
