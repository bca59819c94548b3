"""Markdown seed files."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.seeds import Seed, open_seeds, parse_upload
from support.seed_files import refusal, write


@pytest.mark.row("A157")
def test_a_markdown_upload_is_one_seed() -> None:
    seeds = parse_upload("notes.MD", b"# A\n\ntext")

    assert list(seeds) == [Seed({"file_content": "# A\n\ntext"}, 1)]
    assert seeds.total == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("s.md", b"\x89PNG\0\0", "s.md line 1: this is not UTF-8 text"),
        ("s.md", b"ab\n\0", "s.md line 2: this is binary data"),
    ],
)
def test_an_error_in_the_file_is_reported_with_its_place(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    assert message in refusal(tmp_path / name, content)


def test_a_markdown_file_keeps_its_line_ends_but_not_its_byte_order_mark(tmp_path: Path) -> None:
    seeds = open_seeds(write(tmp_path / "s.markdown", "\ufeff# A\r\n\r\ntext\r\n"))

    assert list(seeds) == [Seed({"file_content": "# A\r\n\r\ntext\r\n"})]
