"""Markdown seed files: the whole file is one seed (contract A157)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from penstock.errors import BadInputError
from penstock.seeds.formats.text import decode_text
from penstock.seeds.limits import read_whole
from penstock.seeds.model import Seed


def read_markdown(stream: BinaryIO, name: str) -> Iterator[Seed]:
    """One seed with the text as ``file_content``; raises BadInputError when there is none."""
    text = decode_text(read_whole(stream, name, "Markdown"), name)
    if not text.strip():
        raise BadInputError("Markdown file is empty")
    yield Seed({"file_content": text})
