"""Split a Markdown document into its sections."""

from __future__ import annotations

import asyncio
import json
import re
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

from penstock.blocks.base import BaseMultiplierBlock
from penstock.errors import BadInputError
from penstock.serialization import to_text

_NEWLINE = re.compile(r"\r\n?|\n")
_LONG = 100_000
"""Longer documents are parsed in a thread, so that other records continue; in characters."""
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_FRONT_MATTER = {
    "---": (("---", "..."), re.compile(r"[^\s:#][^:]*:(?:\s|$)"), re.compile(r"[\s#\]}]|- |-$")),
    "+++": (("+++",), re.compile(r"[\w\"'.-]+\s*=|\["), re.compile(r"[\s#\]}]|['\"]{3}")),
}
"""By its first line: what can end it, what an entry begins with, what other lines begin with."""


class MarkdownMultiplierBlock(BaseMultiplierBlock):
    """One state for each section of the Markdown in ``file_content``.

    A section begins with its heading; text before the first heading is a section of its own. Headings without
    any text begin the section that follows. A ``#`` inside code, quotes, lists or comments is not a heading.
    Front matter (YAML, TOML or JSON) is left out.
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
        if not sections:
            raise BadInputError("file_content has no text below its front matter; there is nothing to split")
        return [{"content": section, "chunk_index": index} for index, section in enumerate(sections)]

    def _split(self, text: str) -> list[str]:
        lines = _NEWLINE.split(text.removeprefix("\ufeff"))
        lines = lines[_count_front_matter(lines) :]
        starts, filled = _find_blocks("\n".join(lines), self.max_heading_level)
        bounds = [0, *(start for start in starts if start), len(lines)]
        sections: list[str] = []
        waiting: list[str] = []
        length, has_text = 0, False
        for start, end in pairwise(bounds):
            section = "\n".join(lines[start:end]).strip("\n")
            if not section.strip():
                continue
            length += len(section) + (2 if waiting else 0)
            waiting.append(section)
            has_text |= bisect_left(filled, start) < bisect_left(filled, end)
            if has_text and length >= self.min_length:
                sections.append("\n\n".join(waiting))
                waiting, length, has_text = [], 0, False
        if waiting and sections and length < self.min_length:
            waiting.insert(0, sections.pop())
        return [*sections, "\n\n".join(waiting)] if waiting else sections


def _find_blocks(text: str, max_level: int) -> tuple[list[int], list[int]]:
    """The lines, from 0, at which sections begin, and those at which their text does.

    Headings inside quotes and lists begin no section. Rules and comments are no text.
    """
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark")
    parser.core.ruler.enableOnly(["normalize", "block"])
    starts, filled = [], []
    for token in parser.parse(text):
        if token.level or token.nesting < 0 or not token.map:
            continue
        if token.type == "heading_open" and int(token.tag[1]) <= max_level:
            starts.append(token.map[0])
        elif token.type != "hr" and not (
            token.type == "html_block" and not _COMMENT.sub("", token.content).strip()
        ):
            filled.append(token.map[0])
    return starts, filled


def _count_front_matter(lines: Sequence[str]) -> int:
    """How many lines at the beginning of a document are its front matter."""
    first = lines[0].rstrip()
    if first not in _FRONT_MATTER:
        return _count_json(lines) if first == "{" else 0
    ends, entry, other = _FRONT_MATTER[first]
    is_first = True
    for number, line in enumerate(lines[1:], start=1):
        if line.rstrip() in ends:
            return number + 1
        if entry.match(line):
            is_first = False
        elif line.strip() and not (other.match(line) if not is_first else line.startswith("#")):
            return 0  # text between two rules
    return 0


def _count_json(lines: Sequence[str]) -> int:
    """The lines of a JSON object that a document begins with; 0 when it is the whole document."""
    text = "\n".join(lines)
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return 0
    rest = text[end:]
    is_front_matter = isinstance(value, dict) and rest.startswith("\n") and rest.strip()
    return text.count("\n", 0, end) + 1 if is_front_matter else 0
