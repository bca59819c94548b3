"""Split a Markdown document into its sections."""

from __future__ import annotations

import asyncio
import re
from itertools import pairwise
from typing import Any, ClassVar

from penstock.blocks.base import BaseMultiplierBlock
from penstock.errors import BadInputError
from penstock.serialization import to_text

_NEWLINE = re.compile(r"\r\n?|\n")
_LONG = 100_000
"""Longer documents are parsed in a thread, so that other records continue; in characters."""


class MarkdownMultiplierBlock(BaseMultiplierBlock):
    """One state for each section of the Markdown in ``file_content``.

    A section begins with its heading; text before the first heading is a section of its own. A ``#`` inside
    code, quotes or lists is not a heading.
    """

    name = "Markdown multiplier"
    description = "Splits the Markdown in file_content at its headings; each section becomes a record."
    inputs: ClassVar[list[str]] = []
    outputs: ClassVar[list[str]] = ["content", "chunk_index"]
    consumes: ClassVar[list[str]] = ["file_content"]
    config_descriptions: ClassVar[dict[str, str]] = {
        "max_heading_level": "The deepest heading that begins a section, from 1 to 6.",
        "min_length": "Sections with fewer characters are joined to the next one.",
    }

    def __init__(self, max_heading_level: int = 6, min_length: int = 0) -> None:
        self.max_heading_level = int(max_heading_level)
        self.min_length = int(min_length)

    async def multiply(self, data: dict[str, Any]) -> list[dict[str, Any]]:
        """The sections in order, each as ``content`` with its ``chunk_index`` from 0."""
        text = to_text(data.get("file_content"))
        if not text.strip():
            raise BadInputError("file_content is missing or blank; give the seed a Markdown text to split")
        if len(text) > _LONG:
            sections = await asyncio.to_thread(self._split, text)
        else:
            sections = self._split(text)
        return [{"content": section, "chunk_index": index} for index, section in enumerate(sections)]

    def _split(self, text: str) -> list[str]:
        lines = _NEWLINE.split(text)
        starts = _find_headings("\n".join(lines), self.max_heading_level)
        bounds = [0, *(start for start in starts if start), len(lines)]
        sections = ["\n".join(lines[start:end]).strip("\n") for start, end in pairwise(bounds)]
        return self._join_short([section for section in sections if section.strip()])

    def _join_short(self, sections: list[str]) -> list[str]:
        joined: list[str] = []
        waiting = ""
        for section in sections:
            waiting = f"{waiting}\n\n{section}" if waiting else section
            if len(waiting) >= self.min_length:
                joined.append(waiting)
                waiting = ""
        if waiting and joined:
            joined[-1] += f"\n\n{waiting}"
        elif waiting:
            joined.append(waiting)
        return joined


def _find_headings(text: str, max_level: int) -> list[int]:
    """The lines, from 0, at which the headings outside quotes and lists begin."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark")
    parser.core.ruler.enableOnly(["normalize", "block"])
    return [
        token.map[0]
        for token in parser.parse(text)
        if token.type == "heading_open" and token.level == 0 and token.map and int(token.tag[1]) <= max_level
    ]
