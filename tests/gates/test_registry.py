"""Which gates there are, and how they are created."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from penstock.entities import Parts
from penstock.errors import DefinitionError, GateNotFoundError
from penstock.gates import BaseGate, GateRegistry, default_registry, parts_named
from penstock.settings import Settings

BUILT_IN = [
    "GroundingGate",
    "JSONFieldsGate",
    "JSONSchemaGate",
    "LengthGate",
    "PythonSyntaxGate",
    "QuoteGate",
    "RegexGate",
    "ScoreGate",
    "SimilarityGate",
]
OWN = '''
from penstock.gates import BasePartGate

class Shouting(BasePartGate):
    """Everything in capitals."""
    _config_descriptions = {"marks": "How many exclamation marks."}

    def __init__(self, marks: int = 1, part: str | None = None) -> None:
        super().__init__(part)
        if marks < 0:
            raise ValueError("marks cannot be negative")
        self.marks = marks

    def look(self, parts):
        text = self.value(parts)
        return self.verdict() if text.isupper() else self.fault(parts, "it must be in capitals")
'''


def test_the_built_in_gates_are_found() -> None:
    registry = GateRegistry()

    assert registry.list_types() == BUILT_IN
    assert registry.errors == []


def test_every_built_in_gate_describes_itself_and_each_of_its_settings() -> None:
    for schema in GateRegistry().list_schemas():
        assert schema["name"]
        assert schema["description"]
        properties = schema["config_schema"]["properties"]
        assert properties["part"]["isPartReference"] is True
        assert properties["part"]["default"] is None
        assert all(setting["description"] for setting in properties.values())


def test_settings_become_a_form() -> None:
    schema = next(each for each in GateRegistry().list_schemas() if each["type"] == "LengthGate")

    assert schema["config_schema"]["properties"]["unit"]["enum"] == ["chars", "words"]
    assert schema["config_schema"]["required"] == []


def test_a_gate_in_user_blocks_is_found(tmp_path: Path) -> None:
    (tmp_path / "shouting.py").write_text(OWN)
    (tmp_path / "broken.py").write_text("def broken(:")

    registry = GateRegistry(tmp_path)
    gate = registry.create("Shouting", {"marks": 2})

    assert "Shouting" in registry
    assert [found.message for found in gate.look(Parts({"text": "quiet"})).findings] == [
        "it must be in capitals"
    ]
    assert "broken.py" in registry.errors[0]["file"]
    schema = next(each for each in registry.list_schemas() if each["type"] == "Shouting")
    assert "description" in schema["config_schema"]["properties"]["part"]


def test_an_error_from_a_gates_own_check_of_settings_becomes_a_definition_error(tmp_path: Path) -> None:
    (tmp_path / "shouting.py").write_text(OWN)

    with pytest.raises(DefinitionError, match="marks cannot be negative"):
        GateRegistry(tmp_path).create("Shouting", {"marks": -1})


def test_an_unknown_gate_is_refused_with_the_list_of_available_gates() -> None:
    with pytest.raises(GateNotFoundError) as caught:
        GateRegistry().create("RegexpGate")

    assert caught.value.detail == {"gate_type": "RegexpGate", "available_gates": BUILT_IN}


@pytest.mark.parametrize(
    ("kind", "config", "message"),
    [
        ("RegexGate", {}, "Gate 'RegexGate' needs the setting 'pattern'"),
        ("RegexGate", {"patern": "x", "pattern": "y"}, "did you mean 'pattern'"),
        ("RegexGate", {"pattern": 5}, "pattern"),
        ("LengthGate", {"min_length": 1, "unit": "lines"}, "unit"),
        ("LengthGate", "min_length", "must be a mapping"),
    ],
)
def test_a_wrong_setting_is_named(kind: str, config: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        GateRegistry().create(kind, config)


def test_the_parts_that_a_gate_checks_or_blames_are_listed() -> None:
    registry = GateRegistry()
    quote = {
        "source": "text",
        "part": "generated.answer",
        "not_in": "generated.question",
        "blame": "generated",
    }

    assert parts_named(registry.create("QuoteGate", quote), "x") == [
        "generated.answer",
        "generated",
        "generated.question",
    ]
    assert parts_named(registry.create("RegexGate", {"pattern": "x"}), "assistant") == ["assistant"]
    assert parts_named(registry.create("RegexGate", {"pattern": "x"}), None) == []
    assert parts_named(registry.create("RegexGate", {"pattern": "x", "blame": ["a", "b"]}), "c") == [
        "c",
        "a",
        "b",
    ]


def test_a_gate_without_settings_for_parts_names_none() -> None:
    class Plain(BaseGate):
        pass

    assert parts_named(Plain(), "assistant") == []


def test_a_gate_that_is_not_in_a_file_can_be_registered() -> None:
    registry = GateRegistry()

    @registry.register
    class Plain(BaseGate):
        """A gate of a notebook."""

    assert isinstance(registry.create("Plain"), Plain)
    assert registry.get_class("Plain") is Plain


def test_the_registry_of_a_folder_is_made_once(tmp_path: Path) -> None:
    settings = Settings(user_blocks=tmp_path)

    assert default_registry(settings) is default_registry(settings)


def test_listing_the_gates_imports_nothing_heavy() -> None:
    code = (
        "import sys; from penstock.gates import GateRegistry; GateRegistry().list_schemas();"
        "print([name for name in ('regex', 'jsonschema_rs', 'snowballstemmer', 'stop_words', 'litellm')"
        " if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
