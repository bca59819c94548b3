"""Ready-made pipelines, built-in ones and the user's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from penstock.blocks.registry import default_registry
from penstock.gates import default_registry as default_gates
from penstock.templates import MAX_ALIASES, MAX_BYTES, TemplateRegistry
from penstock.workflow.definition import load_definition

GOOD = "name: Mine\ndescription: What it does\nblocks:\n  - type: ValidatorBlock\n"
BUILT_IN = ["fact_questions", "json_generation", "qa_generation", "text_classification"]


def write(folder: Path, name: str, text: str) -> None:
    """A template file in a folder that may not be there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def get(template_id: str) -> dict[str, Any]:
    """A built-in template."""
    definition = TemplateRegistry().get_template(template_id)
    assert definition is not None
    return definition


@pytest.mark.row("A126", "A129")
def test_built_in_templates_are_listed_with_names_descriptions_and_seeds() -> None:
    listed = {template["id"]: template for template in TemplateRegistry().list_templates()}

    assert list(listed) == BUILT_IN
    assert listed["json_generation"]["name"] == "JSON Generation"
    assert listed["text_classification"]["name"] == "Text Classification"
    assert listed["qa_generation"]["name"] == "Q&A Generation"
    assert all(template["description"] and template["example_seed"] for template in listed.values())


def test_built_in_templates_load_without_an_error() -> None:
    assert TemplateRegistry().errors == []


@pytest.mark.parametrize("template_id", BUILT_IN)
def test_blocks_and_gates_of_built_in_templates_accept_their_settings(template_id: str) -> None:
    for block in get(template_id)["blocks"]:
        default_registry().create(block["type"], block.get("config", {}))
        for gate in block.get("gates", []):
            default_gates().create(gate["type"], gate["config"])


@pytest.mark.row("A127", "A128")
def test_a_yaml_file_in_the_folder_is_a_template_named_after_it(tmp_path: Path) -> None:
    write(tmp_path, "my_template.yaml", GOOD)

    registry = TemplateRegistry(tmp_path)

    assert registry.list_templates() == [{"id": "my_template", "name": "Mine", "description": "What it does"}]
    assert registry.get_template("my_template") == {
        "name": "Mine",
        "description": "What it does",
        "blocks": [{"type": "ValidatorBlock"}],
    }


@pytest.mark.row("A127")
def test_templates_of_the_user_are_added_and_replace_those_of_the_same_id(tmp_path: Path) -> None:
    write(tmp_path, "my_template.yaml", GOOD)
    write(tmp_path, "qa_generation.yaml", GOOD)

    registry = TemplateRegistry(user_dir=tmp_path)

    names = {template["id"]: template["name"] for template in registry.list_templates()}
    assert names["my_template"] == names["qa_generation"] == "Mine"
    assert names["json_generation"] == "JSON Generation"
    assert registry.example_seeds("qa_generation") == []


@pytest.mark.row("A128", "A136")
def test_an_unknown_template_is_none_and_has_no_seeds() -> None:
    registry = TemplateRegistry()

    assert registry.get_template("../../etc/passwd") is None
    assert registry.example_seeds("nothing") == []


def test_a_folder_that_does_not_exist_has_no_templates(tmp_path: Path) -> None:
    registry = TemplateRegistry(tmp_path / "none", user_dir=tmp_path / "neither")

    assert registry.list_templates() == []
    assert registry.errors == []


def test_a_caller_may_change_what_the_registry_returns() -> None:
    registry = TemplateRegistry()
    definition = registry.get_template("json_generation")
    assert definition is not None

    definition["blocks"].clear()
    registry.example_seeds("json_generation").clear()

    assert registry.get_template("json_generation") != definition
    assert registry.example_seeds("json_generation")


@pytest.mark.row("A137")
@pytest.mark.parametrize(
    "text",
    [
        "name: [unclosed",
        "- a\n- list\n",
        "",
        "name: No blocks\n",
        "name: Mine\nblocks: []\n",
        "name: Mine\nblocks: [{config: {}}]\n",
        "name: 5\nblocks: [{type: ValidatorBlock}]\n",
        "name: !!python/object/apply:os.system ['touch owned']\nblocks: [{type: ValidatorBlock}]\n",
        "name: Mine\nblocks: " + "[" * 20_000,
        "a: &a [1]\nname: Mine\nblocks: [" + "*a, " * (MAX_ALIASES + 1) + "*a]\n",
        GOOD + "#" * MAX_BYTES,
    ],
    ids=[
        "syntax",
        "list",
        "empty",
        "no blocks",
        "none",
        "no type",
        "name",
        "object",
        "deep",
        "aliases",
        "huge",
    ],
)
def test_a_file_that_cannot_be_used_is_skipped_and_listed_in_errors(tmp_path: Path, text: str) -> None:
    write(tmp_path, "bad.yaml", text)
    write(tmp_path, "good.yaml", GOOD)

    registry = TemplateRegistry(tmp_path)

    assert [template["id"] for template in registry.list_templates()] == ["good"]
    assert [Path(error["file"]).name for error in registry.errors] == ["bad.yaml"]
    assert registry.errors[0]["error"]
    assert not Path("owned").exists()


def test_a_file_that_is_not_text_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe\x00name")

    registry = TemplateRegistry(tmp_path)

    assert registry.list_templates() == []
    assert registry.errors


@pytest.mark.parametrize("seeds", ["{bad", "5", "[5]", '[{"repetitions": 1}]'])
def test_a_template_whose_seeds_cannot_be_used_has_none(tmp_path: Path, seeds: str) -> None:
    write(tmp_path, "mine.yaml", GOOD)
    write(tmp_path / "seeds", "seed_mine.json", seeds)

    registry = TemplateRegistry(tmp_path)

    assert registry.list_templates() == [{"id": "mine", "name": "Mine", "description": "What it does"}]
    assert [Path(error["file"]).name for error in registry.errors] == ["seed_mine.json"]


@pytest.mark.row("A130")
def test_json_generation_makes_a_title_and_a_description() -> None:
    generator, validator = get("json_generation")["blocks"]

    assert generator["type"] == "StructuredGenerator"
    assert generator["config"]["json_schema"]["required"] == ["title", "description"]
    assert validator == {
        "type": "JSONValidatorBlock",
        "config": {"field_name": "generated", "required_fields": ["title", "description"], "strict": True},
    }


@pytest.mark.row("A131")
def test_text_classification_has_five_categories_and_a_confidence() -> None:
    generator, validator = get("text_classification")["blocks"]

    config, properties = generator["config"], generator["config"]["json_schema"]["properties"]
    assert (config["temperature"], config["max_tokens"]) == (0.3, 100)
    assert properties["category"]["enum"] == ["environment", "technology", "health", "finance", "sports"]
    assert (properties["confidence"]["minimum"], properties["confidence"]["maximum"]) == (0, 1)
    assert validator["type"] == "JSONValidatorBlock"


@pytest.mark.row("A132")
def test_qa_generation_states_facts_and_asks_three_to_five_questions() -> None:
    writer, generator, validator = get("qa_generation")["blocks"]

    pairs = generator["config"]["json_schema"]["properties"]["qa_pairs"]
    assert [step["type"] for step in (writer, generator, validator)] == [
        "TextGenerator",
        "StructuredGenerator",
        "JSONValidatorBlock",
    ]
    assert (writer["config"]["temperature"], writer["config"]["max_tokens"]) == (0.8, 512)
    assert (pairs["minItems"], pairs["maxItems"]) == (3, 5)


@pytest.mark.row("A133", "A134")
@pytest.mark.parametrize("template_id", ["json_generation", "text_classification", "qa_generation"])
def test_the_three_read_content_and_come_with_seeds_that_have_it(template_id: str) -> None:
    seeds = TemplateRegistry().example_seeds(template_id)

    assert "{{ content }}" in json.dumps(get(template_id))
    assert seeds
    assert all(seed["repetitions"] >= 1 and list(seed["metadata"]) == ["content"] for seed in seeds)


def test_fact_questions_comes_with_twenty_five_sentences() -> None:
    texts = [seed["metadata"]["text"] for seed in TemplateRegistry().example_seeds("fact_questions")]

    assert len(set(texts)) == 25
    assert all(8 <= len(text.split()) <= 20 and text.endswith(".") for text in texts)


@pytest.mark.parametrize("template_id", BUILT_IN)
def test_every_text_and_list_that_a_small_model_writes_has_a_limit(template_id: str) -> None:
    def unbounded(schema: dict[str, Any], path: str) -> list[str]:
        found = []
        if schema["type"] == "string" and "maxLength" not in schema and "enum" not in schema:
            found.append(path)
        if schema["type"] == "array" and "maxItems" not in schema:
            found.append(path)
        inner = dict(schema.get("properties", {})) | ({"[]": schema["items"]} if "items" in schema else {})
        return found + [each for name, part in inner.items() for each in unbounded(part, f"{path}.{name}")]

    for block in get(template_id)["blocks"]:
        if block["type"] == "StructuredGenerator":
            assert unbounded(block["config"]["json_schema"], template_id) == []
            assert block["config"]["max_tokens"] <= 1024


def test_a_template_is_read_as_a_pipeline_file_is(tmp_path: Path) -> None:
    text = (
        "name: Yes or no\n"
        "blocks:\n"
        "  - type: StructuredGenerator\n"
        "    config:\n"
        "      user_prompt: Is it so?\n"
        "      json_schema: {type: object, properties: {answer: {enum: [yes, no]}}}\n"
    )
    write(tmp_path, "mine.yaml", text)

    definition = TemplateRegistry(tmp_path).get_template("mine")

    assert definition is not None
    assert definition["blocks"][0]["config"]["json_schema"]["properties"]["answer"]["enum"] == ["yes", "no"]
    assert definition == load_definition(tmp_path / "mine.yaml")[0]


def test_the_error_of_a_template_gives_the_line(tmp_path: Path) -> None:
    write(tmp_path, "bad.yaml", "name: Mine\nblocks: [\n")

    (error,) = TemplateRegistry(tmp_path).errors

    assert error["error"].startswith("line 3: this is not valid YAML")
