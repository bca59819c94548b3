"""Which blocks there are, and how they are created."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.blocks.base import BaseBlock, BaseMultiplierBlock
from penstock.blocks.registry import BlockRegistry, default_registry
from penstock.errors import BlockNotFoundError, DefinitionError, TemplateError
from penstock.settings import Settings

MY_BLOCK = """
from penstock import BaseBlock
from typing import Any

class MyBlock(BaseBlock):
    name = "My Block"
    description = "what it does"
    inputs = ["text"]
    outputs = ["result"]

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        return {"result": data["text"].upper()}
"""


@pytest.fixture
def user_blocks(tmp_path: Path) -> Path:
    """A folder with the example block of the documentation."""
    folder = tmp_path / "user_blocks"
    folder.mkdir()
    (folder / "myblock.py").write_text(
        MY_BLOCK.replace("from penstock import", "from penstock.blocks.base import")
    )
    return folder


@pytest.mark.row("A53", "A54")
async def test_a_block_dropped_into_the_folder_works(user_blocks: Path) -> None:
    registry = BlockRegistry(user_blocks)

    result = await registry.create("MyBlock").execute({"text": "hello"})

    assert result == {"result": "HELLO"}
    assert registry.errors == []
    schema = next(schema for schema in registry.list_schemas() if schema["type"] == "MyBlock")
    assert schema["name"] == "My Block"


@pytest.mark.row("A55")
def test_a_users_block_replaces_a_built_in_one(user_blocks: Path) -> None:
    (user_blocks / "other.py").write_text(
        "from penstock.blocks.base import BaseBlock\n"
        "class ValidatorBlock(BaseBlock):\n"
        "    description = 'mine'\n"
    )

    registry = BlockRegistry(user_blocks)

    assert registry.create("ValidatorBlock").description == "mine"
    assert BlockRegistry().create("ValidatorBlock").description != "mine"


@pytest.mark.row("A59")
def test_a_broken_file_is_listed_and_stops_nothing(user_blocks: Path) -> None:
    (user_blocks / "broken.py").write_text("def broken(:")

    registry = BlockRegistry(user_blocks)

    assert "MyBlock" in registry
    assert registry.errors == [
        {"file": str(user_blocks / "broken.py"), "error": "SyntaxError: invalid syntax (line 1)"}
    ]


def test_a_block_without_a_valid_schema_is_listed_as_broken(user_blocks: Path) -> None:
    (user_blocks / "odd.py").write_text(
        "from penstock.blocks.base import BaseBlock\nclass Odd(BaseBlock):\n    outputs = 5\n"
    )
    registry = BlockRegistry(user_blocks)

    types = [schema["type"] for schema in registry.list_schemas()]

    assert "Odd" not in types
    assert "MyBlock" in types
    assert registry.errors == [
        {"file": "Odd", "error": "Block 'Odd': 'outputs' must be a list of names, not int."}
    ]


@pytest.mark.row("A11", "A12")
@pytest.mark.parametrize("block_type", ["LLMBlock", "", None, ["TextGenerator"]])
def test_an_unknown_block_is_refused_with_the_known_ones(block_type: Any) -> None:
    with pytest.raises(BlockNotFoundError) as raised:
        BlockRegistry().get_class(block_type)

    assert raised.value.message == f"Block '{block_type}' not found"
    assert raised.value.detail["block_type"] == block_type
    assert "TextGenerator" in raised.value.detail["available_blocks"]


@pytest.mark.row("A72")
def test_an_unknown_setting_is_refused_naming_block_and_setting() -> None:
    with pytest.raises(DefinitionError) as raised:
        BlockRegistry().create("TextGenerator", {"temprature": 1})

    assert raised.value.message == (
        "Block 'TextGenerator' has no setting 'temprature'; did you mean 'temperature'?"
    )


@pytest.mark.row("A73")
def test_a_missing_setting_is_refused_naming_it() -> None:
    with pytest.raises(DefinitionError) as raised:
        BlockRegistry().create("StructuredGenerator", {})

    assert raised.value.message.startswith("Block 'StructuredGenerator' needs the setting 'json_schema'")
    assert raised.value.detail["key"] == "json_schema"


@pytest.mark.parametrize(
    ("block_type", "config", "sentence"),
    [
        ("TextGenerator", {"temperature": "hot"}, "'temperature' must be a number, not 'hot'"),
        ("RougeScore", {"rouge_type": "rouge9"}, "'rouge_type' must be one of 'rouge1', 'rouge2', 'rougeL'"),
        ("JSONValidatorBlock", {"strict": "no"}, "'strict' must be true or false, not 'no'"),
        ("StructuredGenerator", {"json_schema": {}, "examples": [{"user": "x"}]}, "example 1 must have just"),
    ],
)
def test_a_wrong_setting_is_refused(block_type: str, config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DefinitionError) as raised:
        BlockRegistry().create(block_type, config)

    assert raised.value.message.startswith(f"Block '{block_type}'")
    assert sentence in raised.value.message


def test_an_error_from_a_blocks_own_check_becomes_a_definition_error() -> None:
    class Picky(BaseBlock):
        def __init__(self, size: int) -> None:
            raise ValueError("size must be even")

    class Typed(BaseBlock):
        def __init__(self) -> None:
            raise TemplateError("its own kind of error")

    registry = BlockRegistry()
    registry.register(Picky)
    registry.register(Typed)

    with pytest.raises(
        DefinitionError, match="Block 'Picky' cannot be made with these settings: size must be even"
    ):
        registry.create("Picky", {"size": 3})
    with pytest.raises(TemplateError, match="its own kind of error"):
        registry.create("Typed")


def test_the_registry_of_a_folder_is_made_once(user_blocks: Path, tmp_path: Path) -> None:
    settings = Settings(user_blocks=user_blocks)

    assert default_registry(settings) is default_registry(settings)
    assert default_registry(settings) is not default_registry(Settings(user_blocks=tmp_path / "other"))


async def test_a_base_block_does_nothing_by_itself() -> None:
    for block in (BaseBlock(), BaseMultiplierBlock()):
        with pytest.raises(NotImplementedError):
            await block.execute({})
    with pytest.raises(NotImplementedError):
        await BaseMultiplierBlock().multiply({})
