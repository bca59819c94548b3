"""Finding classes, and reading what settings they take."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from penstock.blocks.base import BaseBlock
from penstock.discovery import check_config, discover, extract_config_schema, find_config_issues
from penstock.errors import DefinitionError
from penstock.gates.base import BaseGate


def block_file(name: str, output: str = "x") -> str:
    return (
        "from penstock.blocks.base import BaseBlock\n"
        f"class {name}(BaseBlock):\n"
        f"    outputs = ['{output}']\n"
    )  # fmt: skip


@pytest.mark.row("A54", "A57")
def test_every_block_of_a_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(block_file("One") + block_file("Two"))

    found = discover(BaseBlock, folders=[tmp_path])

    assert sorted(found.classes) == ["One", "Two"]
    assert found.errors == []


@pytest.mark.row("A55")
def test_a_later_place_replaces_an_earlier_class_of_the_same_name(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, output in ((first, "a"), (second, "b")):
        folder.mkdir()
        (folder / "block.py").write_text(block_file("Same", output))

    found = discover(BaseBlock, folders=[first, second])

    assert found.classes["Same"].outputs == ["b"]


@pytest.mark.row("A55")
def test_a_file_of_the_users_own_replaces_a_built_in_block(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(block_file("ValidatorBlock", "mine"))

    found = discover(BaseBlock, packages=["penstock.blocks.builtin"], folders=[tmp_path])

    assert found.classes["ValidatorBlock"].outputs == ["mine"]


@pytest.mark.row("A58")
def test_files_that_begin_with_an_underscore_are_left_to_their_neighbours(tmp_path: Path) -> None:
    (tmp_path / "_shared.py").write_text(block_file("Hidden") + "WORD = 'shared'\n")
    (tmp_path / "block.py").write_text("from ._shared import WORD\n" + block_file("Shown"))

    found = discover(BaseBlock, folders=[tmp_path])

    assert list(found.classes) == ["Shown"]
    assert found.errors == []


@pytest.mark.row("A59")
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("def broken(:\n", "SyntaxError: invalid syntax (line 1)"),
        ("import nothing_of_that_name\n", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("raise SystemExit(3)\n", "SystemExit: it ends the program when it is imported"),
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
        ("def f(): f()\nf()\n", "RecursionError: maximum recursion depth exceeded"),
    ],
)
def test_a_file_that_fails_to_import_stops_nothing(tmp_path: Path, code: str, reason: str) -> None:
    (tmp_path / "a_broken.py").write_text(code)
    (tmp_path / "good.py").write_text(block_file("Good"))

    found = discover(BaseBlock, folders=[tmp_path])

    assert list(found.classes) == ["Good"]
    assert [error.to_dict() for error in found.errors] == [
        {"file": str(tmp_path / "a_broken.py"), "error": reason}
    ]


def test_a_file_that_is_no_text_is_reported(tmp_path: Path) -> None:
    (tmp_path / "noise.py").write_bytes(b"\x00\xff\xfe")
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder.py").mkdir()

    found = discover(BaseBlock, folders=[tmp_path])

    assert [Path(error.file).name for error in found.errors] == ["folder.py", "gone.py", "noise.py"]


def test_imported_and_base_classes_are_not_registered(tmp_path: Path) -> None:
    (tmp_path / "block.py").write_text(
        "from penstock.blocks.base import BaseBlock, BaseMultiplierBlock\n"
        "from penstock.blocks.builtin.validator import ValidatorBlock\n"
        "class BaseOfMine(BaseBlock): ...\n"
        "class _Private(BaseBlock): ...\n"
        "class BasementBlock(BaseOfMine): ...\n"
        "Alias = BasementBlock\n"
        "class Unrelated: ...\n"
    )

    found = discover(BaseBlock, folders=[tmp_path])

    assert list(found.classes) == ["BasementBlock"]


def test_a_folder_that_does_not_exist_holds_nothing(tmp_path: Path) -> None:
    found = discover(BaseBlock, folders=[tmp_path / "missing"], entry_points="penstock.no_such_group")

    assert (found.classes, found.errors) == ({}, [])


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    (tmp_path / "block.py").write_text(block_file("Changing", "before"))
    discover(BaseBlock, folders=[tmp_path])
    (tmp_path / "block.py").write_text(block_file("Changing", "afterwards"))

    found = discover(BaseBlock, folders=[tmp_path])

    assert found.classes["Changing"].outputs == ["afterwards"]


def test_two_kinds_in_one_file_come_from_one_import(tmp_path: Path) -> None:
    (tmp_path / "both.py").write_text(
        block_file("Block")
        + "from penstock.gates.base import BaseGate\n"
        + "class Gate(BaseGate):\n    of = Block\n"
    )

    blocks = discover(BaseBlock, folders=[tmp_path])
    gates = discover(BaseGate, folders=[tmp_path])

    assert vars(gates.classes["Gate"])["of"] is blocks.classes["Block"]


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Path]:
    """A folder on the import path, as if packages had been installed there."""
    folder = tmp_path / "site"
    folder.mkdir()
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


def test_installed_packages_offer_blocks_by_entry_points(installed: Path) -> None:
    (installed / "offering.py").write_text(block_file("Offered") + block_file("Other") + "NUMBER = 1\n")
    info = installed / "offering-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: offering\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[test.one]\na = offering:Offered\n[test.all]\na = offering\n"
        "[test.wrong]\na = offering:NUMBER\nb = offering:Missing\nc = not_installed\n"
    )

    one, everything, wrong = (
        discover(BaseBlock, entry_points=f"test.{name}") for name in ("one", "all", "wrong")
    )

    assert list(one.classes) == ["Offered"]
    assert sorted(everything.classes) == ["Offered", "Other"]
    assert not wrong.classes
    assert [error.file.split("'")[1] for error in wrong.errors] == [
        "a = offering:NUMBER",
        "b = offering:Missing",
        "c = not_installed",
    ]


class Shade(Enum):
    DARK = "dark"
    LIGHT = "light"


class Probe:
    _config_enums: ClassVar[dict[str, list[Any]]] = {"chosen": ["one", "two"]}
    _config_descriptions: ClassVar[dict[str, str]] = {"text": "What to say."}
    _field_references: ClassVar[list[str]] = ["field_name"]
    _part_references: ClassVar[list[str]] = ["part"]
    _templates: ClassVar[list[str]] = ["text"]

    def __init__(
        self,
        number: float,
        count: int,
        *,
        text: str = "",
        flag: bool = False,
        table: dict[str, Any] | None = None,
        amounts: dict[str, int] | None = None,
        names: list[str] | None = None,
        rows: list[list[int]] | None = None,
        records: list[dict[str, Any]] | None = None,
        bare: list = [],  # type: ignore[type-arg]  # noqa: B006  (what people write)
        literal: Literal["a", "b"] = "a",
        shade: Shade = Shade.DARK,
        chosen: str = "one",
        words: list[str] | str | None = None,
        anything: Any = None,
        odd: object = print,
        field_name: str = "assistant",
        part: str | None = None,
    ) -> None: ...


@pytest.mark.row("A61", "A62", "A63", "A64", "A65", "A66", "A67", "A68")
def test_the_schema_of_settings_is_read_from_init() -> None:
    schema = extract_config_schema(Probe)

    assert schema["type"] == "object"
    assert schema["required"] == ["number", "count"]
    assert schema["properties"] == {
        "number": {"type": "number"},
        "count": {"type": "integer"},
        "text": {"type": "string", "default": "", "isTemplate": True, "description": "What to say."},
        "flag": {"type": "boolean", "default": False},
        "table": {"type": "object", "default": None},
        "amounts": {"type": "object", "additionalProperties": {"type": "integer"}, "default": None},
        "names": {"type": "array", "items": {"type": "string"}, "default": None},
        "rows": {
            "type": "array",
            "items": {"type": "array", "items": {"type": "integer"}},
            "default": None,
        },
        "records": {"type": "array", "items": {"type": "object"}, "default": None},
        "bare": {"type": "array", "items": {}, "default": []},
        "literal": {"type": "string", "enum": ["a", "b"], "default": "a"},
        "shade": {"type": "string", "enum": ["dark", "light"], "default": "dark"},
        "chosen": {"type": "string", "enum": ["one", "two"], "default": "one"},
        "words": {"type": "array", "items": {"type": "string"}, "default": None},
        "anything": {"default": None},
        "odd": {},
        "field_name": {"type": "string", "default": "assistant", "isFieldReference": True},
        "part": {"type": "string", "default": None, "isPartReference": True},
    }


@pytest.mark.row("A69")
def test_a_class_without_init_takes_no_settings() -> None:
    class Bare: ...

    assert extract_config_schema(Bare) == {"type": "object", "properties": {}, "required": []}
    with pytest.raises(DefinitionError, match="Block 'Bare' has no setting 'x'; it takes no settings"):
        check_config(Bare, {"x": 1})


def test_a_type_that_cannot_be_resolved_is_any_type() -> None:
    class Odd:
        def __init__(self, known: int, unknown: NotThere) -> None: ...  # type: ignore[name-defined]  # noqa: F821  (as in a slip)

    schema = extract_config_schema(Odd)

    assert schema["properties"] == {"known": {"type": "integer"}, "unknown": {}}
    check_config(Odd, {"known": 1, "unknown": object()})


def test_other_settings_are_welcome_where_init_takes_any() -> None:
    class Open:
        def __init__(self, known: int = 1, *args: Any, **others: Any) -> None: ...

    check_config(Open, {"known": 2, "something": "else"})

    assert list(extract_config_schema(Open)["properties"]) == ["known"]


@pytest.mark.parametrize(
    "config",
    [
        {"number": 1, "count": 3.0},
        {"number": 1.5, "count": 3, "text": "x", "flag": True, "table": None, "names": ["a"]},
        {"number": 1, "count": 1, "words": "one phrase"},
        {"number": 1, "count": 1, "words": ["a", "b"], "rows": [[1], []], "amounts": {"a": 1}},
        {"number": 1, "count": 1, "shade": "light", "literal": "b", "chosen": "two", "anything": object()},
        {"number": 1, "count": 1, "shade": Shade.LIGHT},
    ],
)
def test_settings_that_fit_are_let_through(config: dict[str, Any]) -> None:
    assert find_config_issues(Probe, config) == []


@pytest.mark.row("A72", "A73")
@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"txt": "x"}, "Block 'Probe' has no setting 'txt'; did you mean 'text'?"),
        ({"count": 1}, "Block 'Probe' needs the setting 'number'; add 'number' to its config"),
        ({"number": "hot"}, "Block 'Probe': 'number' must be a number, not 'hot'"),
        ({"number": None}, "Block 'Probe': 'number' must be a number, not null"),
        ({"number": True}, "Block 'Probe': 'number' must be a number, not true"),
        ({"count": 1.5}, "Block 'Probe': 'count' must be a whole number, not 1.5"),
        ({"flag": "yes"}, "Block 'Probe': 'flag' must be true or false, not 'yes'"),
        ({"text": ["a"]}, "Block 'Probe': 'text' must be text, not [\"a\"]"),
        ({"names": "a"}, "Block 'Probe': 'names' must be a list of texts, not 'a'"),
        ({"names": [1]}, "Block 'Probe': 'names' must be a list of texts, not [1]"),
        ({"table": "{}"}, "Block 'Probe': 'table' must be a mapping, not '{}'"),
        ({"amounts": {"a": "b"}}, "Block 'Probe': 'amounts' must be a mapping, not {\"a\": \"b\"}"),
        ({"words": 5}, "Block 'Probe': 'words' must be a list of texts or text, not 5"),
        ({"chosen": "three"}, "Block 'Probe': 'chosen' must be one of 'one', 'two', not 'three'"),
        ({"literal": ["a"]}, "Block 'Probe': 'literal' must be one of 'a', 'b', not [\"a\"]"),
        ({"shade": None}, "Block 'Probe': 'shade' must be one of 'dark', 'light', not null"),
        (["number"], "Block 'Probe': config must be a mapping of settings, not [\"number\"]"),
        ({1: 2}, "Block 'Probe' has no setting '1'; it takes 'number', 'count',"),
    ],
)
def test_settings_that_do_not_fit_are_named(config: Any, sentence: str) -> None:
    with pytest.raises(DefinitionError) as raised:
        check_config(Probe, config)

    assert raised.value.message.startswith(sentence)
    assert raised.value.detail["type"] == "Probe"


def test_all_faults_are_told_and_the_place_is_the_callers() -> None:
    faults = find_config_issues(Probe, {"txt": 1, "number": "x", "flag": 1}, "Step 2 (Probe)")

    assert [(fault.kind, fault.key) for fault in faults] == [
        ("unknown", "txt"),
        ("type", "number"),
        ("type", "flag"),
        ("missing", "count"),
    ]
    assert all(fault.message.startswith("Step 2 (Probe)") for fault in faults)


def test_a_long_wrong_value_is_shortened() -> None:
    with pytest.raises(DefinitionError) as raised:
        check_config(Probe, {"number": "x" * 10_000})

    assert len(raised.value.message) < 200
