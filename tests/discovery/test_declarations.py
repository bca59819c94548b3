"""What classes declare about their arguments, under the public names and those of the design document."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from penstock.blocks.base import BaseBlock
from penstock.discovery import (
    extract_config_schema,
    get_config_descriptions,
    get_config_enums,
    get_field_references,
    get_part_references,
    get_state_templates,
    get_templates,
)
from penstock.gates import BaseGate, BasePartGate, parts_named

NAMES = {
    "config_enums": ({"kind": ["a", "b"]}, get_config_enums),
    "config_descriptions": ({"kind": "Which."}, get_config_descriptions),
    "field_references": (["field"], get_field_references),
    "part_references": (["part"], get_part_references),
    "templates": (["prompt"], get_templates),
    "state_templates": ({"prompt": "user"}, get_state_templates),
}


def subclass(*bases: type, **attributes: Any) -> Any:
    return type("Own", bases, attributes)


@pytest.mark.row("A66", "A67", "A68")
@pytest.mark.parametrize("base", [BaseBlock, BaseGate, object])
@pytest.mark.parametrize("prefix", ["", "_"])
@pytest.mark.parametrize("name", NAMES)
def test_both_spellings_mean_the_same(base: type, prefix: str, name: str) -> None:
    value, read = NAMES[name]

    own = subclass(base, **{prefix + name: value})

    assert read(own) == value
    assert read(subclass(own)) == value


@pytest.mark.parametrize("base", [BaseBlock, BaseGate])
@pytest.mark.parametrize("prefix", ["", "_"])
@pytest.mark.parametrize("name", NAMES)
def test_a_block_or_gate_has_the_attribute_under_both_spellings(base: type, prefix: str, name: str) -> None:
    value, _ = NAMES[name]

    own = subclass(subclass(base, **{prefix + name: value}))

    assert getattr(own, name) == value
    assert getattr(own, f"_{name}") == value


@pytest.mark.parametrize("name", NAMES)
def test_without_a_declaration_there_is_nothing(name: str) -> None:
    value, read = NAMES[name]

    assert not read(subclass(BaseBlock))
    assert not read(subclass(object))
    assert type(getattr(subclass(BaseBlock), name)) is type(value)


@pytest.mark.parametrize(("first", "second"), [("", "_"), ("_", ""), ("", ""), ("_", "_")])
def test_the_nearest_class_decides_whatever_its_spelling(first: str, second: str) -> None:
    far = subclass(BaseBlock, **{f"{first}field_references": ["far"]})
    near = subclass(far, **{f"{second}field_references": ["near"]})

    assert get_field_references(far) == ["far"]
    assert get_field_references(near) == ["near"]
    assert get_field_references(subclass(near)) == ["near"]
    assert vars(near)["field_references"] == vars(near)["_field_references"] == ["near"]


def test_an_empty_declaration_takes_back_an_inherited_one() -> None:
    far = subclass(BaseBlock, templates=["prompt"])

    assert not get_templates(subclass(far, _templates=[]))


@pytest.mark.parametrize("prefix", ["", "_"])
def test_a_mixin_that_is_not_a_block_can_declare(prefix: str) -> None:
    mixin = subclass(object, **{f"{prefix}field_references": ["mixed"]})

    own = subclass(mixin, BaseBlock)

    assert get_field_references(own) == ["mixed"]
    assert own.field_references == ["mixed"]
    assert own._field_references == ["mixed"]


def test_a_class_without_a_declaration_does_not_hide_that_of_a_later_base() -> None:
    silent, declaring = subclass(BaseBlock), subclass(BaseBlock, _field_references=["declared"])

    assert get_field_references(subclass(silent, declaring)) == ["declared"]


def test_a_class_that_uses_both_spellings_means_the_public_one() -> None:
    own = subclass(BaseBlock, field_references=["new"], _field_references=["old"])

    assert get_field_references(own) == ["new"]
    assert own._field_references == ["new"]


@pytest.mark.parametrize("prefix", ["", "_"])
def test_an_instance_attribute_of_the_same_name_changes_no_declaration(prefix: str) -> None:
    class Filler(BaseBlock):
        def __init__(self, templates: list[str]) -> None:
            vars(self)["templates"] = templates

    own = subclass(Filler, **{f"{prefix}templates": ["prompt"]})

    own(["a", "b"])

    assert get_templates(own) == ["prompt"]


@pytest.mark.row("A66", "A67", "A68")
def test_the_schema_is_the_same_under_both_spellings() -> None:
    class Own(BaseBlock):
        config_enums: ClassVar[dict[str, list[Any]]] = {"kind": ["a", "b"]}
        config_descriptions: ClassVar[dict[str, str]] = {"kind": "Which."}
        field_references: ClassVar[list[str]] = ["field"]
        part_references: ClassVar[list[str]] = ["part"]
        templates: ClassVar[list[str]] = ["prompt"]

        def __init__(self, kind: str, field: str, part: str, prompt: str) -> None: ...

    designed = type(
        "Own",
        (BaseBlock,),
        {
            "__init__": Own.__init__,
            **{f"_{name}": vars(Own)[name] for name in NAMES if name in vars(Own)},
        },
    )

    schema = extract_config_schema(Own)

    assert schema["properties"] == {
        "kind": {"type": "string", "enum": ["a", "b"], "description": "Which."},
        "field": {"type": "string", "isFieldReference": True},
        "part": {"type": "string", "isPartReference": True},
        "prompt": {"type": "string", "isTemplate": True},
    }
    assert extract_config_schema(designed) == schema


def test_a_subclass_describes_only_the_settings_that_it_adds() -> None:
    own = subclass(BasePartGate, _config_descriptions={"more": "What else."})

    described = get_config_descriptions(own)

    assert described["more"] == "What else."
    assert described["part"].startswith("Part to check")


@pytest.mark.parametrize("prefix", ["", "_"])
def test_the_parts_of_a_gate_are_found_under_both_spellings(prefix: str) -> None:
    class Pair(BaseGate):
        def __init__(self) -> None:
            self.one, self.two = "question", ["answer", "source"]

    own = subclass(Pair, **{f"{prefix}part_references": ["one", "two"]})

    assert parts_named(own(), None) == ["question", "answer", "source"]
