"""The thoughts that reasoning models write before their answer, in the same text."""

from __future__ import annotations

import re

_MARKS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<thoughts>", "</thoughts>"),
    ("<reasoning>", "</reasoning>"),
    ("<reflection>", "</reflection>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
)
_ALONE = (
    "</think>",
    "</thinking>",
    "</thought>",
    "</seed:think>",
    "[/THINK]",
    "◁/think▷",
    "<|end_of_thought|>",
)
"""Marks that also end thoughts without a mark of their beginning, which then stands in the prompt."""
_MOST_BLOCKS = 1_000
_VISIBLE = re.compile(r"\S")
_QUOTES = "`'\""
_END_OF_ANSWER = ("<|return|>", "<|end|>")


def split_thoughts(text: str) -> tuple[str, str]:
    """The thoughts in ``text``, and the answer that follows them.

    Thoughts are a block at the beginning, or all that stands before the mark of their end when there is no
    mark of their beginning. A block without an end is thoughts alone. Anything else is the answer unchanged.
    """
    if "<" not in text and "[/" not in text and "[T" not in text and "◁" not in text:
        return "", text
    thoughts: list[str] = []
    marks = _Marks(text)
    position = 0
    while len(thoughts) < _MOST_BLOCKS and (found := _find_block(marks, position)):
        start, end, position = found
        thoughts.append(text[start:end].strip())
    if not thoughts:
        return "", text
    rest = text[position:].strip()
    for end_mark in _END_OF_ANSWER:
        rest = rest.removesuffix(end_mark)
    return "\n\n".join(filter(None, thoughts)), rest


class _Marks:
    """Where marks are in a text; each is searched for once, however many blocks there are."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._found: dict[str, int] = {}

    def find(self, mark: str, position: int) -> int:
        """The first place of ``mark`` at ``position`` or behind it, -1 when there is none."""
        found = self._found.get(mark, 0)
        if mark not in self._found or 0 <= found < position:
            found = self._found[mark] = self.text.find(mark, position)
        return found


def _find_block(marks: _Marks, position: int) -> tuple[int, int, int] | None:
    """The begin and end of the thoughts at ``position``, and where the rest begins; None without any."""
    text = marks.text
    visible = _VISIBLE.search(text, position)
    start = visible.start() if visible else len(text)
    for opening, closing in _MARKS:
        inside = start + len(opening)
        if text[start:inside].lower() == opening.lower():
            end = marks.find(closing, inside)
            return (inside, len(text), len(text)) if end < 0 else (inside, end, end + len(closing))
    for closing in _ALONE:
        end = marks.find(closing, position)
        if end < 0 or 0 <= marks.find(closing.replace("/", "", 1), position) < end:
            continue
        if not _is_quoted(text, end, len(closing)):
            return position, end, end + len(closing)
    return None


def _is_quoted(text: str, start: int, length: int) -> bool:
    """Whether a mark stands in quotes, because the answer speaks of it."""
    before, after = text[start - 1 : start], text[start + length : start + length + 1]
    return before != "" and before in _QUOTES and before == after
