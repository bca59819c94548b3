"""The schemas of the built-in blocks."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.blocks.registry import BlockRegistry

BUILT_IN = {
    "TextGenerator",
    "StructuredGenerator",
    "MarkdownMultiplierBlock",
    "DiversityScore",
    "CoherenceScore",
    "RougeScore",
    "ValidatorBlock",
    "JSONValidatorBlock",
}


@pytest.fixture(scope="module")
def schemas() -> dict[str, dict[str, Any]]:
    """The schemas of all built-in blocks by type."""
    return {schema["type"]: schema for schema in BlockRegistry().list_schemas()}


@pytest.mark.row("A70", "A12")
def test_all_eight_built_in_blocks_are_found() -> None:
    registry = BlockRegistry()

    assert set(registry.list_types()) >= BUILT_IN
    assert registry.errors == []


@pytest.mark.row("A56", "A60")
@pytest.mark.parametrize("block_type", sorted(BUILT_IN))
def test_a_block_serves_its_schema(block_type: str, schemas: dict[str, dict[str, Any]]) -> None:
    schema = schemas[block_type]

    assert schema == BlockRegistry().get_class(block_type).get_schema()
    assert set(schema) >= {"type", "name", "description", "inputs", "outputs", "config_schema"}
    assert schema["type"] == block_type
    assert schema["name"]
    assert schema["description"].endswith(".")
    assert schema["config_schema"]["type"] == "object"
    for name, setting in schema["config_schema"]["properties"].items():
        assert setting["description"].endswith("."), f"{block_type}.{name} needs a description"


@pytest.mark.row("A74", "A75", "A61", "A62", "A68")
def test_the_schema_of_the_text_generator(schemas: dict[str, dict[str, Any]]) -> None:
    schema = schemas["TextGenerator"]
    properties = schema["config_schema"]["properties"]

    assert (schema["inputs"], schema["outputs"]) == ([], ["assistant", "system", "user"])
    assert list(properties) == [
        "model",
        "temperature",
        "max_tokens",
        "system_prompt",
        "user_prompt",
        "keep_thoughts",
        "allow_incomplete",
    ]
    assert schema["config_schema"]["required"] == []
    assert {name: setting["default"] for name, setting in properties.items()} == {
        "model": None,
        "temperature": 0.7,
        "max_tokens": 2048,
        "system_prompt": "",
        "user_prompt": "",
        "keep_thoughts": False,
        "allow_incomplete": False,
    }
    assert properties["user_prompt"]["isTemplate"]


@pytest.mark.row("A84", "A63")
def test_the_schema_of_the_structured_generator(schemas: dict[str, dict[str, Any]]) -> None:
    schema = schemas["StructuredGenerator"]

    assert (schema["inputs"], schema["outputs"]) == ([], ["generated"])
    assert schema["config_schema"]["required"] == ["json_schema"]
    assert schema["config_schema"]["properties"]["json_schema"]["type"] == "object"
    assert set(schema["config_schema"]["properties"]) >= {
        "json_schema",
        "model",
        "temperature",
        "max_tokens",
        "user_prompt",
    }


@pytest.mark.row("A90", "A71", "D12")
def test_the_schema_of_the_markdown_multiplier(schemas: dict[str, dict[str, Any]]) -> None:
    schema = schemas["MarkdownMultiplierBlock"]

    assert (schema["inputs"], schema["outputs"]) == ([], ["content", "chunk_index"])
    assert schema["config_schema"]["required"] == []
    assert [type_ for type_, other in schemas.items() if other["is_multiplier"]] == [
        "MarkdownMultiplierBlock"
    ]


@pytest.mark.row("A94", "A97", "A67")
@pytest.mark.parametrize(
    ("block_type", "output"), [("DiversityScore", "diversity_score"), ("CoherenceScore", "coherence_score")]
)
def test_the_schemas_of_scores_of_a_field(
    block_type: str, output: str, schemas: dict[str, dict[str, Any]]
) -> None:
    schema = schemas[block_type]
    field_name = schema["config_schema"]["properties"]["field_name"]

    assert (schema["inputs"], schema["outputs"]) == ([], [output])
    assert (field_name["default"], field_name["isFieldReference"]) == ("assistant", True)


@pytest.mark.row("A98", "A66", "A67")
def test_the_schema_of_the_rouge_score(schemas: dict[str, dict[str, Any]]) -> None:
    properties = schemas["RougeScore"]["config_schema"]["properties"]

    assert schemas["RougeScore"]["outputs"] == ["rouge_score"]
    assert {name: setting["default"] for name, setting in properties.items()} == {
        "generated_field": "assistant",
        "reference_field": "reference",
        "rouge_type": "rouge1",
    }
    assert properties["rouge_type"]["enum"] == ["rouge1", "rouge2", "rougeL"]
    assert properties["generated_field"]["isFieldReference"]
    assert properties["reference_field"]["isFieldReference"]


@pytest.mark.row("A100", "A101", "A65")
def test_the_schema_of_the_validator(schemas: dict[str, dict[str, Any]]) -> None:
    schema = schemas["ValidatorBlock"]
    properties = schema["config_schema"]["properties"]

    assert schema["inputs"] == ["text", "assistant"]
    assert schema["outputs"] == ["text", "valid", "assistant"]
    assert {name: setting["default"] for name, setting in properties.items()} == {
        "min_length": 0,
        "max_length": 100000,
        "forbidden_words": None,
    }
    assert properties["forbidden_words"]["type"] == "array"
    assert properties["forbidden_words"]["items"] == {"type": "string"}


@pytest.mark.row("A106")
def test_the_schema_of_the_json_validator(schemas: dict[str, dict[str, Any]]) -> None:
    schema = schemas["JSONValidatorBlock"]
    properties = schema["config_schema"]["properties"]

    assert (schema["inputs"], schema["outputs"]) == (["*"], ["valid", "parsed_json"])
    assert {name: setting["default"] for name, setting in properties.items()} == {
        "field_name": "assistant",
        "required_fields": None,
        "strict": False,
    }
