"""Finding classes in packages, entry points and folders."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.blocks.base import BaseBlock
from penstock.discovery import discover
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
def test_a_users_file_replaces_a_built_in_block(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(block_file("ValidatorBlock", "mine"))

    found = discover(BaseBlock, packages=["penstock.blocks.builtin"], folders=[tmp_path])

    assert found.classes["ValidatorBlock"].outputs == ["mine"]


@pytest.mark.row("A58")
def test_files_that_begin_with_an_underscore_can_be_imported_but_are_not_searched(tmp_path: Path) -> None:
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


def test_a_file_that_is_not_text_is_reported(tmp_path: Path) -> None:
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


def test_a_folder_that_does_not_exist_counts_as_empty(tmp_path: Path) -> None:
    found = discover(BaseBlock, folders=[tmp_path / "missing"], entry_points="penstock.no_such_group")

    assert (found.classes, found.errors) == ({}, [])


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "block.py").write_text(block_file("Changing", "before"))
    discover(BaseBlock, folders=[tmp_path])
    (tmp_path / "block.py").write_text(block_file("Changing", "afterwards"))

    found = discover(BaseBlock, folders=[tmp_path])

    assert found.classes["Changing"].outputs == ["afterwards"]


def test_a_block_and_a_gate_in_one_file_come_from_one_import(tmp_path: Path) -> None:
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
