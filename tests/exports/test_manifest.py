"""Exports replace only what exports made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import BadInputError
from penstock.exports import export, export_dataset, write_card
from support.exports import record, stream

DETAILS = {"name": "Facts", "pipeline": {"name": "P", "blocks": []}}


async def make(target: Path, format_: str = "jsonl", *, overwrite: bool = False) -> None:
    """Export one record."""
    await export_dataset(stream(record(1, a=1)), target, format_, None, DETAILS, overwrite=overwrite)


def contents(folder: Path) -> dict[str, bytes]:
    """The content of each file by its name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["README.md", "pipeline.yaml", "train.jsonl"])
async def test_a_file_that_no_export_made_is_refused_before_anything_is_written(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("precious")

    with pytest.raises(BadInputError, match=f"{name} exists"):
        await make(tmp_path)

    assert contents(tmp_path) == {name: b"precious"}


@pytest.mark.parametrize("name", ["README.md", "pipeline.yaml", "train.jsonl"])
async def test_a_file_that_was_changed_after_its_export_is_refused(tmp_path: Path, name: str) -> None:
    await make(tmp_path)
    with (tmp_path / name).open("a") as file:
        file.write("a note of mine\n")
    before = contents(tmp_path)

    with pytest.raises(BadInputError, match=f"{name} exists"):
        await make(tmp_path)

    assert contents(tmp_path) == before


async def test_an_unchanged_export_is_replaced_in_any_format(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")

    for format_ in ("jsonl", "csv", "jsonl", "parquet", "csv"):
        await make(tmp_path, format_)

    assert {"notes.txt", "README.md", "pipeline.yaml", "train.jsonl", "train.csv"} <= contents(
        tmp_path
    ).keys()
    assert (tmp_path / "notes.txt").read_text() == "mine"


async def test_overwrite_replaces_what_no_export_made(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("precious")

    await make(tmp_path, overwrite=True)
    await make(tmp_path)

    assert (tmp_path / "README.md").read_text().startswith("---")


@pytest.mark.parametrize("name", ["x.jsonl", "LICENSE"])
async def test_a_single_file_is_replaced_only_when_it_is_empty_or_on_request(
    tmp_path: Path, name: str
) -> None:
    target = tmp_path / name
    target.write_text("precious")

    with pytest.raises(BadInputError, match="exists"):
        await make(target)
    assert target.read_text() == "precious"

    await make(target, overwrite=True)
    assert b'"id":1' in target.read_bytes()
    target.write_text("")
    await make(target)
    assert b'"id":1' in target.read_bytes()


async def test_a_link_is_not_replaced_by_an_export(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(BadInputError, match="exists"):
        await export(stream(record(1)), tmp_path / "x.jsonl", "jsonl")

    assert (tmp_path / "x.jsonl").is_symlink()


async def test_what_is_no_ordinary_file_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").mkdir()

    with pytest.raises(BadInputError, match="not an ordinary file"):
        await make(tmp_path, overwrite=True)


async def test_a_file_that_appears_during_the_export_is_kept(tmp_path: Path) -> None:
    async def records() -> AsyncIterator[Any]:
        yield record(1)
        (tmp_path / "x.jsonl").write_text("precious")

    with pytest.raises(BadInputError, match="exists"):
        await export(records(), tmp_path / "x.jsonl", "jsonl")

    assert contents(tmp_path) == {"x.jsonl": b"precious"}


def test_a_card_alone_replaces_no_file_either(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("precious")

    with pytest.raises(BadInputError, match="exists"):
        write_card(tmp_path, DETAILS)

    assert contents(tmp_path) == {"README.md": b"precious"}
